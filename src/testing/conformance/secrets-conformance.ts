import assert from 'node:assert/strict'
import type { Secrets } from '../../platform/secrets.ts'
import { type ConformanceSuite, eventually } from './conformance-case.ts'

export interface SecretsSubject {
  /** Holds `db/password` = `s3cret`, `db/user` = `app` and `api-key` = a text of two lines with characters beyond ASCII. */
  readonly secrets: Secrets
  /** Changes a secret where it is kept, or removes it. Needed where `liveWatch` is claimed. */
  readonly change?: (name: string, value: string | undefined) => Promise<void>
}

export const conformanceSecrets: Readonly<Record<string, string>> = {
  'db/password': 's3cret',
  'db/user': 'app',
  'api-key': 'line é\nline 2',
}

const needsLiveWatch = ({ secrets }: SecretsSubject) =>
  secrets.capabilities.liveWatch ? undefined : 'does not claim `liveWatch`: its secrets never change while it runs'

/** What every `Secrets` promises. */
export const secretsConformance: ConformanceSuite<SecretsSubject> = [
  {
    name: 'gets a secret by name, to the byte',
    run: async ({ secrets }) => {
      for (const [name, value] of Object.entries(conformanceSecrets)) assert.equal(await secrets.get(name), value)
    },
  },
  {
    name: 'says which secret is not there, and where it looked',
    run: async ({ secrets }) => {
      await assert.rejects(secrets.get('no/such'), { code: 'secret_not_found', secret: 'no/such' })
      await assert.rejects(secrets.get('no-such'), /no-such.*looked in/)
    },
  },
  {
    name: 'lists names, sorted, by prefix, and no values',
    run: async ({ secrets }) => {
      assert.deepEqual(await secrets.list(), ['api-key', 'db/password', 'db/user'])
      assert.deepEqual(await secrets.list('db/'), ['db/password', 'db/user'])
      assert.deepEqual(await secrets.list('none'), [])
    },
  },
  {
    name: 'refuses names that could lead elsewhere',
    run: async ({ secrets }) => {
      for (const name of ['', '..', '../db', 'db/../x', '/db', 'db/', 'a/b/c', 'DB', 'a b', 'a\0', '.hidden']) {
        await assert.rejects(secrets.get(name), { code: 'invalid_argument' }, JSON.stringify(name))
        await assert.rejects(
          secrets.watch(name, () => undefined),
          { code: 'invalid_argument' },
        )
      }
    },
  },
  {
    name: 'a watch first tells the value there is, and the absence of one',
    run: async ({ secrets }) => {
      const heard: unknown[] = []
      const one = await secrets.watch('db/user', (change) => heard.push(change))
      const two = await secrets.watch('no/such', (change) => heard.push(change))
      await Promise.all([one.stop(), one.stop(), two.stop()])
      assert.deepEqual(heard, [
        { name: 'db/user', value: 'app' },
        { name: 'no/such', value: undefined },
      ])
    },
  },
  {
    name: 'a watch tells every change, removal and return, once, and nothing about others or after its stop',
    unclaimed: needsLiveWatch,
    run: async ({ secrets, change }) => {
      assert.ok(change, 'the subject needs `change`')
      const heard: (string | undefined)[] = []
      const watch = await secrets.watch('rotated/key', ({ value }) => heard.push(value))
      await change('rotated/key', 'one')
      await eventually('the first value is heard', () => heard.length === 2)
      await change('rotated/other', 'x')
      await change('rotated/key', 'two')
      await eventually('the change is heard', () => heard.length === 3)
      await change('rotated/key', undefined)
      await eventually('the removal is heard', () => heard.length === 4)
      await change('rotated/key', 'three')
      await eventually('the return is heard', () => heard.length === 5)
      assert.equal(await secrets.get('rotated/key'), 'three')
      await watch.stop()
      await change('rotated/key', 'four')
      const last: (string | undefined)[] = []
      const witness = await secrets.watch('rotated/key', ({ value }) => last.push(value))
      await change('rotated/key', 'five')
      await eventually('a later watch hears the next change', () => last.includes('five'))
      await witness.stop()
      await change('rotated/key', undefined)
      await change('rotated/other', undefined)
      assert.deepEqual(heard, [undefined, 'one', 'two', undefined, 'three'])
    },
  },
]
