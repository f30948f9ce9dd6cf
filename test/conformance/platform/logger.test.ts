import { z } from 'zod'
import { createPinoLogger } from '../../../src/platform/adapters/pino/pino-logger.ts'
import { createMemoryLogger } from '../../../src/platform/memory/memory-logger.ts'
import { loggerConformance, type WrittenLine } from '../../../src/testing/platform-conformance.ts'
import { describeSuite } from './support/describe-suite.ts'

const nothing = async () => undefined

describeSuite('logger: memory', loggerConformance, async () => {
  const logger = createMemoryLogger({ level: 'info' })
  let read = 0
  const written = () => {
    const lines = logger.lines.slice(read)
    read = logger.lines.length
    return lines
  }
  return { subject: { logger, written }, stop: nothing }
})

describeSuite('logger: pino', loggerConformance, async () => {
  let text = ''
  const logger = createPinoLogger({ level: 'info', destination: { write: (line) => (text += line) } })
  const written = () => {
    const lines = text.split('\n').filter(Boolean).map(parseLine)
    text = ''
    return lines
  }
  return { subject: { logger, written }, stop: nothing }
})

const lineSchema = z.looseObject({ level: z.string(), time: z.number(), message: z.string() })

function parseLine(line: string): WrittenLine {
  const { level, message, time: _, ...fields } = lineSchema.parse(JSON.parse(line))
  return { level, message, fields }
}
