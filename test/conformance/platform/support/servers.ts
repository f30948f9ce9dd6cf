import { fileURLToPath } from 'node:url'
import { missingBinary, type ServerProcess, startServer } from './server-process.ts'

export const redisMissing = missingBinary('redis-server')
export const natsMissing = missingBinary('nats-server')

const words = (line: string) => line.split(' ')

/** Redis that writes every command to disk before it answers. */
export function startRedis(): Promise<ServerProcess> {
  return startServer({
    command: 'redis-server',
    args: (port, folder) =>
      words(`--port ${port} --bind 127.0.0.1 --dir ${folder} --appendonly yes --appendfsync always --save`).concat(''),
  })
}

export const redisUrl = (server: ServerProcess) => `redis://127.0.0.1:${server.port}`

/** NATS with JetStream on disk. */
export function startNats(): Promise<ServerProcess> {
  return startServer({
    command: 'nats-server',
    args: (port, folder) => words(`-a 127.0.0.1 -p ${port} -js -sd ${folder}`),
  })
}

export const natsServers = (server: ServerProcess) => `127.0.0.1:${server.port}`

const bucket = 'conformance'

/** s3rver, a server of the S3 protocol over a folder. It makes its page tokens with a cipher that OpenSSL 3 calls legacy. */
export function startS3(): Promise<ServerProcess> {
  const program = fileURLToPath(new URL('../../../../node_modules/s3rver/bin/s3rver.js', import.meta.url))
  return startServer({
    command: process.execPath,
    args: (port, folder) => [
      '--openssl-legacy-provider',
      '--no-deprecation',
      program,
      ...words(`--address 127.0.0.1 --port ${port} --directory ${folder} --configure-bucket ${bucket}`),
    ],
  })
}

export const s3Options = (server: ServerProcess) => ({
  bucket,
  endpoint: `http://127.0.0.1:${server.port}`,
  credentials: { accessKeyId: 'S3RVER', secretAccessKey: 'S3RVER' },
})
