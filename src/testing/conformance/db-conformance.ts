import assert from 'node:assert/strict'
import type { Db, DbTransaction } from '../../platform/db.ts'
import { type ConformanceSuite, eventually, gate } from './conformance-case.ts'

export interface DbSubject {
  /** On a database in which the table `conformance (name text primary key, n int not null)` exists and is empty. */
  readonly db: Db
}

const insert = 'insert into conformance (name, n) values ($1, $2)'
const undo = new Error('undo')

async function names(db: Pick<Db, 'query'>): Promise<string[]> {
  return (await db.query<{ name: string }>('select name from conformance order by name')).map((row) => row.name)
}

const needsConcurrency = ({ db }: DbSubject) =>
  db.capabilities.concurrency ? undefined : 'does not claim `concurrency`: its transactions run one after the other'
const needsTimeout = ({ db }: DbSubject) =>
  db.capabilities.statementTimeout ? undefined : 'does not claim `statementTimeout`'

/** What every `Db` promises. */
export const dbConformance: ConformanceSuite<DbSubject> = [
  {
    name: 'query returns rows, execute how many rows changed',
    run: async ({ db }) => {
      assert.equal(await db.execute(insert, ['a', 1]), 1)
      assert.equal(await db.execute('insert into conformance select $1 || i, i from generate_series(1, 3) i', ['b']), 3)
      assert.deepEqual(await db.query('select name, n from conformance where n >= $1 order by name desc', [2]), [
        { name: 'b3', n: 3 },
        { name: 'b2', n: 2 },
      ])
      assert.equal(await db.execute('update conformance set n = 0 where name like $1', ['b%']), 3)
      assert.equal(await db.execute('select * from conformance'), 0)
      assert.deepEqual(await db.query('update conformance set n = 9 where name = $1 returning n', ['a']), [{ n: 9 }])
    },
  },
  {
    name: 'reads types the same way everywhere',
    run: async ({ db }) => {
      const [row] = await db.query(`select 9007199254740993::int8 as big, 1.50::numeric as exact, 1.5::float8 as float,
        '2026-01-02T03:04:05.006Z'::timestamptz as at, '{"a":[1]}'::jsonb as json, '\\x00ff'::bytea as bytes,
        array['a', null] as texts, array[1, 2] as ints, array[3::int8] as bigs, true as yes, null as nothing,
        '2026-01-02'::date as day`)
      assert.deepEqual(row, {
        big: '9007199254740993',
        exact: '1.50',
        float: 1.5,
        at: new Date('2026-01-02T03:04:05.006Z'),
        json: { a: [1] },
        bytes: Buffer.from([0, 255]),
        texts: ['a', null],
        ints: [1, 2],
        bigs: ['3'],
        yes: true,
        nothing: null,
        day: new Date(2026, 0, 2),
      })
    },
  },
  {
    name: 'takes parameters of every common type',
    run: async ({ db }) => {
      const at = new Date('2026-01-02T03:04:05.006Z')
      const params = ["'; drop table conformance; --", 7, true, null, at, { a: ['b'] }, ['x', 'y'], Buffer.from([1, 2])]
      const [row] = await db.query(
        `select $1::text as text, $2::int as int, $3::bool as bool, $4::text as nothing, $5::timestamptz as at,
           $6::jsonb as json, $7::text[] as texts, $8::bytea as bytes`,
        params,
      )
      assert.deepEqual(Object.values(row ?? {}), params)
    },
  },
  {
    name: 'keeps the SQLSTATE of an error',
    run: async ({ db }) => {
      await db.execute(insert, ['twice', 1])
      await assert.rejects(db.execute(insert, ['twice', 2]), { code: '23505' })
      await assert.rejects(db.query('select * from nowhere'), { code: '42P01' })
    },
  },
  {
    name: 'withTx commits when its function returns, with the result',
    run: async ({ db }) => {
      const result = await db.withTx(async (tx) => {
        await tx.execute(insert, ['kept', 1])
        return names(tx)
      })
      assert.deepEqual(result, ['kept'])
      assert.deepEqual(await names(db), ['kept'])
    },
  },
  {
    name: 'withTx rolls back when its function throws, and throws the same',
    run: async ({ db }) => {
      const work = db.withTx(async (tx) => {
        await tx.execute(insert, ['undone', 1])
        throw undo
      })
      await assert.rejects(work, (error) => error === undo)
      assert.deepEqual(await names(db), [])
    },
  },
  {
    name: 'a nested transaction is a savepoint: what fails inside is undone alone',
    run: async ({ db }) => {
      await db.withTx(async (tx) => {
        await tx.execute(insert, ['outer', 1])
        await assert.rejects(
          tx.withTx(async (inner) => {
            await inner.execute(insert, ['inner', 1])
            await inner.withTx((innermost) => innermost.execute(insert, ['innermost', 1]))
            throw undo
          }),
          (error) => error === undo,
        )
        await tx.withTx((inner) => inner.execute(insert, ['second', 1]))
      })
      assert.deepEqual(await names(db), ['outer', 'second'])
    },
  },
  {
    name: 'a nested transaction that succeeded is undone with the outer one',
    run: async ({ db }) => {
      const work = db.withTx(async (tx) => {
        await tx.withTx((inner) => inner.execute(insert, ['inner', 1]))
        throw undo
      })
      await assert.rejects(work)
      assert.deepEqual(await names(db), [])
    },
  },
  {
    name: 'a SQL error in a nested transaction leaves the outer one usable',
    run: async ({ db }) => {
      await db.execute(insert, ['taken', 1])
      await db.withTx(async (tx) => {
        await assert.rejects(
          tx.withTx((inner) => inner.execute(insert, ['taken', 2])),
          { code: '23505' },
        )
        await tx.execute(insert, ['after', 1])
      })
      assert.deepEqual(await names(db), ['after', 'taken'])
    },
  },
  {
    name: 'a swallowed SQL error is reported: the transaction must not look committed',
    run: async ({ db }) => {
      const work = db.withTx(async (tx) => {
        await tx.execute(insert, ['lost', 1])
        await tx.query('select 1 / 0').catch(() => undefined)
        return 'looks fine'
      })
      await assert.rejects(work, { code: 'transaction_unusable' })
      assert.deepEqual(await names(db), [])
    },
  },
  {
    name: 'a tx is refused after its end, and an outer one while a nested one runs',
    run: async ({ db }) => {
      let kept: DbTransaction | undefined
      await db.withTx(async (tx) => {
        kept = tx
        await tx.withTx(async () => {
          await assert.rejects(tx.query('select 1'), { code: 'transaction_unusable' })
        })
      })
      await assert.rejects(async () => kept?.query('select 1'), { code: 'transaction_unusable' })
    },
  },
  {
    name: 'runs afterCommit callbacks after the outermost commit only',
    run: async ({ db }) => {
      const told: string[] = []
      const rolledBack = db.withTx(async (tx) => {
        tx.afterCommit(() => told.push('never'))
        throw undo
      })
      await assert.rejects(rolledBack)
      await db.withTx(async (tx) => {
        tx.afterCommit(() => told.push('outer'))
        await tx.withTx(async (inner) => inner.afterCommit(() => told.push('inner')))
        const failing = tx.withTx(async (inner) => {
          inner.afterCommit(() => told.push('never'))
          throw undo
        })
        await assert.rejects(failing)
        assert.deepEqual(told, [])
      })
      assert.deepEqual(told, ['outer', 'inner'])
    },
  },
  {
    name: 'runs at the isolation that was chosen, read committed by default',
    run: async ({ db }) => {
      const isolationOf = async (tx: DbTransaction) =>
        (await tx.query<{ level: string }>(`select current_setting('transaction_isolation') as level`))[0]?.level
      assert.equal(await db.withTx(isolationOf), 'read committed')
      for (const isolation of ['read committed', 'repeatable read', 'serializable'] as const) {
        assert.equal(await db.withTx(isolationOf, { isolation }), isolation)
      }
      const nested = db.withTx((tx) => tx.withTx(isolationOf, { isolation: 'serializable' }))
      await assert.rejects(nested, { code: 'invalid_argument' })
    },
  },
  {
    name: 'runs the function again after a serialisation failure or a deadlock, with nothing left of the failed run',
    run: async ({ db }) => {
      for (const sqlState of ['40001', '40P01']) {
        let runs = 0
        await db.withTx(async (tx) => {
          runs++
          await tx.execute(insert, [`run ${runs} of ${sqlState}`, runs])
          // Wrapped and nested, as code between the database and the caller does it.
          if (runs < 3) await tx.withTx((inner) => raise(inner, sqlState)).catch((cause) => wrapAndThrow(cause))
        })
        assert.equal(runs, 3)
      }
      assert.deepEqual(await names(db), ['run 3 of 40001', 'run 3 of 40P01'])
    },
  },
  {
    name: 'gives up after the attempts it was given, and does not repeat other errors',
    run: async ({ db }) => {
      let runs = 0
      const colliding = db.withTx(
        (tx) => {
          runs++
          return raise(tx, '40001')
        },
        { maxAttempts: 2 },
      )
      await assert.rejects(colliding, { code: 'serialization_failure' })
      assert.equal(runs, 2)
      runs = 0
      const failing = db.withTx((tx) => {
        runs++
        return raise(tx, '22000')
      })
      await assert.rejects(failing, { code: '22000' })
      assert.equal(runs, 1)
    },
  },
  {
    name: 'another session does not see what is not committed',
    unclaimed: needsConcurrency,
    run: async ({ db }) => {
      await db.withTx(async (tx) => {
        await tx.execute(insert, ['secret', 1])
        assert.deepEqual(await names(db), [])
      })
      assert.deepEqual(await names(db), ['secret'])
    },
  },
  {
    name: 'repeatable read sees one state from beginning to end',
    unclaimed: needsConcurrency,
    run: async ({ db }) => {
      await db.withTx(
        async (tx) => {
          assert.deepEqual(await names(tx), [])
          await db.execute(insert, ['meanwhile', 1])
          assert.deepEqual(await names(tx), [])
        },
        { isolation: 'repeatable read' },
      )
    },
  },
  {
    name: 'serializable transactions that would skew each other both succeed, one after the other',
    unclaimed: needsConcurrency,
    run: async ({ db }) => {
      await db.execute(insert, ['x', 1])
      await db.execute(insert, ['y', 1])
      const bothRead = gate()
      let reads = 0
      // Each may only be lowered while the sum stays 1 or more: together they would break that.
      const lower = (name: string) =>
        db.withTx(
          async (tx) => {
            const [sum] = await tx.query<{ sum: string }>('select sum(n) as sum from conformance')
            reads++
            if (reads === 2) bothRead.open()
            await bothRead.opened
            if (Number(sum?.sum) < 2) return false
            await tx.execute('update conformance set n = n - 1 where name = $1', [name])
            return true
          },
          { isolation: 'serializable' },
        )
      const lowered = await Promise.all([lower('x'), lower('y')])
      assert.deepEqual(lowered.sort(), [false, true])
      assert.deepEqual(await db.query('select sum(n)::int as sum from conformance'), [{ sum: 1 }])
      assert.ok(reads > 2, 'neither was repeated')
    },
  },
  {
    name: 'two transactions that deadlock both succeed in the end',
    unclaimed: needsConcurrency,
    run: async ({ db }) => {
      await db.execute(insert, ['x', 0])
      await db.execute(insert, ['y', 0])
      const bothHold = gate()
      let holding = 0
      const raiseBoth = (first: string, second: string) =>
        db.withTx(async (tx) => {
          await tx.execute('update conformance set n = n + 1 where name = $1', [first])
          holding++
          if (holding === 2) bothHold.open()
          await bothHold.opened
          await tx.execute('update conformance set n = n + 1 where name = $1', [second])
        })
      await Promise.all([raiseBoth('x', 'y'), raiseBoth('y', 'x')])
      assert.deepEqual(await db.query('select n from conformance'), [{ n: 2 }, { n: 2 }])
    },
  },
  {
    name: 'ends a statement that takes longer than its limit, and rolls back',
    unclaimed: needsTimeout,
    run: async ({ db }) => {
      const startedAt = performance.now()
      const slow = db.withTx(
        async (tx) => {
          await tx.execute(insert, ['undone', 1])
          await tx.query('select pg_sleep(30)')
        },
        { statementTimeoutMs: 100 },
      )
      await assert.rejects(slow, { code: 'statement_timeout' })
      assert.ok(performance.now() - startedAt < 10_000)
      assert.deepEqual(await names(db), [])
      const [limit] = await db.query<{ limit: string }>(`select current_setting('statement_timeout') as limit`)
      assert.notEqual(limit?.limit, '100ms', 'the limit outlived its transaction')
    },
  },
  {
    name: 'a nested transaction ended by the limit can be caught, and the outer one commits',
    unclaimed: needsTimeout,
    run: async ({ db }) => {
      await db.withTx(
        async (tx) => {
          await tx.execute(insert, ['kept', 1])
          await assert.rejects(
            tx.withTx((inner) => inner.query('select pg_sleep(30)')),
            { code: 'statement_timeout' },
          )
        },
        { statementTimeoutMs: 100 },
      )
      await eventually('the outer one has committed', async () => (await names(db)).length === 1)
    },
  },
]

function raise(tx: DbTransaction, sqlState: string): Promise<number> {
  return tx.execute(`do $$ begin raise exception 'as planned' using errcode = '${sqlState}'; end $$`)
}

function wrapAndThrow(cause: unknown): never {
  throw new Error('wrapped', { cause })
}
