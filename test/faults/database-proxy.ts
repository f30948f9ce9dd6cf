import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

/** A way to PostgreSQL that can be broken. */
export interface DatabaseProxy {
  /** The given URL, through the proxy. */
  readonly url: string
  /** From now on every byte, of connections old and new, goes nowhere; nobody is told. */
  swallow(): void
  /** Breaks every connection, and each new one as soon as it is made. */
  cut(): void
  /** Lets the bytes through again, those that were held back too. */
  letThrough(): void
  stop(): Promise<void>
}

export async function startDatabaseProxy(databaseUrl: string): Promise<DatabaseProxy> {
  const target = new URL(databaseUrl)
  const sockets = new Set<Socket>()
  let swallowing = false
  let cutting = false
  const keep = (socket: Socket): void => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => undefined)
    if (swallowing) socket.pause()
  }
  const server = createServer((client) => {
    if (cutting) {
      client.destroy()
      return
    }
    const upstream = connect(Number(target.port), target.hostname)
    for (const socket of [client, upstream]) keep(socket)
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      from.on('data', (bytes) => to.write(bytes))
      from.on('close', () => to.destroy())
    }
    if (swallowing) for (const socket of [client, upstream]) socket.pause()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const url = new URL(databaseUrl)
  url.hostname = '127.0.0.1'
  url.port = String(typeof address === 'object' ? address?.port : '')
  return {
    url: url.href,
    swallow: () => {
      swallowing = true
      for (const socket of sockets) socket.pause()
    },
    cut: () => {
      cutting = true
      for (const socket of sockets) socket.destroy()
    },
    letThrough: () => {
      cutting = false
      swallowing = false
      for (const socket of sockets) socket.resume()
    },
    stop: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
