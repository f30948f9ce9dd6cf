import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createMemoryLogger } from '../../memory/memory-logger.ts'
import { createOpenFeatureFlags } from './openfeature-flags.ts'

describe('feature flags: openfeature with a file', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sluice-flags-'))
  })
  afterAll(() => rm(folder, { recursive: true }))

  const flag = (defaultVariant: string, targeting?: object) =>
    JSON.stringify({
      flags: {
        f: { state: 'ENABLED', variants: { on: true, off: false }, defaultVariant, ...(targeting && { targeting }) },
      },
    })

  test('reads the file again when it changes, and keeps the flags when the change cannot be read', async () => {
    const file = join(folder, 'changing.json')
    await writeFile(file, flag('off'))
    const logger = createMemoryLogger()
    const flags = createOpenFeatureFlags({ file, pollMs: 10, logger })
    await flags.start()
    expect(await flags.isEnabled('f')).toBe(false)
    await writeFile(file, flag('on'))
    await expect.poll(() => flags.isEnabled('f')).toBe(true)
    await writeFile(file, '{ "flags": ')
    await expect.poll(() => logger.lines.some((line) => line.level === 'error')).toBe(true)
    expect(await flags.isEnabled('f')).toBe(true)
    await flags.stop()
    expect(await flags.isEnabled('f', {}, false)).toBe(false)
  })

  test('splits by percentage, always the same way for the same key', async () => {
    const file = join(folder, 'split.json')
    await writeFile(
      file,
      flag('off', {
        fractional: [
          ['on', 25],
          ['off', 75],
        ],
      }),
    )
    const flags = createOpenFeatureFlags({ file, logger: createMemoryLogger() })
    await flags.start()
    const answers = await Promise.all(
      Array.from({ length: 400 }, (_, n) => flags.isEnabled('f', { targetingKey: `user ${n}` })),
    )
    const share = answers.filter(Boolean).length / answers.length
    expect(share).toBeGreaterThan(0.15)
    expect(share).toBeLessThan(0.35)
    expect(await flags.isEnabled('f', { targetingKey: 'user 7' })).toBe(answers[7])
    await flags.stop()
  })

  test('logs once why a flag answers its fallback', async () => {
    const file = join(folder, 'unknown.json')
    await writeFile(file, flag('off'))
    const logger = createMemoryLogger()
    const flags = createOpenFeatureFlags({ file, logger })
    await flags.start()
    for (let n = 0; n < 3; n++) await flags.isEnabled('nobody')
    expect(logger.lines.map((line) => line.fields)).toEqual([{ flag: 'nobody', reason: 'FLAG_NOT_FOUND' }])
    await flags.stop()
  })

  test('start fails when the file is missing or wrong', async () => {
    const logger = createMemoryLogger()
    await expect(createOpenFeatureFlags({ file: join(folder, 'absent'), logger }).start()).rejects.toThrow('ENOENT')
    const file = join(folder, 'wrong.json')
    await writeFile(file, 'flags:')
    await expect(createOpenFeatureFlags({ file, logger }).start()).rejects.toThrow(
      `The flag file ${file} cannot be used`,
    )
    await expect(createOpenFeatureFlags({ logger }).start()).rejects.toMatchObject({ code: 'invalid_argument' })
  })
})
