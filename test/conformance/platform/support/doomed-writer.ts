// A process of its own that replaces one object without end, each time by another letter, and says which one is stored:
// the test kills it.
import { createFilesystemObjectStorage } from '../../../../src/platform/adapters/filesystem/filesystem-object-storage.ts'

const [directory = '', first = '0', size = '1'] = process.argv.slice(2)
const storage = createFilesystemObjectStorage({ directory })
await storage.start()

async function* body(letter: string) {
  for (let part = 0; part < 16; part++) yield Buffer.alloc(Number(size) / 16, letter)
}

for (let round = Number(first); ; round++) {
  await storage.put('result', body(String(round % 10)))
  process.stdout.write(`${round}\n`)
}
