import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

/** What a pooler in transaction mode does to LISTEN: the notification reaches a session that is nobody's. */
export interface Pooler {
  /** The given URL, through the pooler. */
  readonly url: string
  stop(): Promise<void>
}

export async function startPooler(databaseUrl: string): Promise<Pooler> {
  const target = new URL(databaseUrl)
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname)
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => undefined)
    }
    client.on('data', (bytes) => upstream.write(bytes))
    client.on('close', () => upstream.destroy())
    upstream.on('close', () => client.destroy())
    let rest = Buffer.alloc(0)
    upstream.on('data', (bytes) => {
      const { through, left } = withoutNotifications(Buffer.concat([rest, bytes]))
      rest = left
      client.write(through)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const url = new URL(databaseUrl)
  url.hostname = '127.0.0.1'
  url.port = String(typeof address === 'object' ? address?.port : '')
  return {
    url: url.href,
    stop: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

// Every message of the server: a letter, its length with itself, and the rest; NotificationResponse is A.
function withoutNotifications(bytes: Buffer<ArrayBuffer>): { through: Buffer; left: Buffer<ArrayBuffer> } {
  const through: Buffer[] = []
  let at = 0
  while (at + 5 <= bytes.length) {
    const end = at + 1 + bytes.readUInt32BE(at + 1)
    if (end > bytes.length) break
    if (String.fromCharCode(bytes[at] ?? 0) !== 'A') through.push(bytes.subarray(at, end))
    at = end
  }
  return { through: Buffer.concat(through), left: bytes.subarray(at) }
}
