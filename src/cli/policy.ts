import { readFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { addConnectionOptions, connect, type ConnectionOptions } from './connection.ts'
import { parseInput } from './key-values.ts'
import { exitCodes, paint, printJson, printLine, runCommand, type Terminal } from './output.ts'
import { UsageError } from './usage-error.ts'

interface FileOptions {
  readonly json?: boolean
}

/** `sluice policy check | test | explain` */
export function addPolicyCommand(program: Command, terminal: Terminal): void {
  const policy = program.command('policy').description('check, test and ask the approval policy')
  policy
    .command('check <file>')
    .description('whether a policy file can be used; exit code 1 when not')
    .option('--json', 'print JSON on stdout and nothing else')
    .action((file: string, options: FileOptions) =>
      runCommand(terminal, options, async () => {
        const { issues, compiled } = await compile(file)
        if (options.json === true) printJson(terminal, { valid: issues.length === 0, issues })
        else if (compiled) printLine(terminal, `${file}: ${compiled.rules.length} rules, digest ${compiled.digest}`)
        else for (const { pointer, message } of issues) printLine(terminal, `${pointer || file}: ${message}`)
        return issues.length === 0 ? exitCodes.completed : exitCodes.failed
      }),
    )

  policy
    .command('test <file>')
    .description('run the examples in its `tests`; exit code 1 when one does not hold')
    .option('--json', 'print JSON on stdout and nothing else')
    .action((file: string, options: FileOptions) =>
      runCommand(terminal, options, async () => {
        const { issues, compiled } = await compile(file)
        const { testPolicy } = await import('../approvals/policy.ts')
        const failures = compiled
          ? testPolicy(compiled)
          : issues.map(({ pointer, message }) => ({ name: pointer || file, message }))
        const tests = compiled?.tests.length ?? 0
        if (options.json === true) printJson(terminal, { tests, failures })
        else {
          for (const { name, message } of failures)
            printLine(terminal, `${paint(terminal, 'red', 'FAILED')}  ${name}: ${message}`)
          if (failures.length === 0) printLine(terminal, `${tests} examples hold.`)
        }
        return failures.length === 0 ? exitCodes.completed : exitCodes.failed
      }),
    )

  addConnectionOptions(
    policy
      .command('explain <operation>')
      .description('which rule of the active policy a request of yours would meet')
      .option('--input <pair...>', 'key=value, nested.key=value, or key:=json', []),
  ).action((operation: string, options: ConnectionOptions & { readonly input: readonly string[] }) =>
    runCommand(terminal, options, async (signal) => {
      const client = await connect(options, terminal.env)
      const answer = await client.explainPolicy(operation, parseInput(options.input), { signal })
      if (options.json === true) printJson(terminal, answer)
      else
        printLine(
          terminal,
          `${answer.explain}\nEnvironment ${answer.environment}, policy version ${answer.policy_version}.`,
        )
      if (options.json !== true && answer.why_not !== null) printLine(terminal, answer.why_not)
      return exitCodes.completed
    }),
  )
}

async function compile(file: string) {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(`${file} cannot be read (${error.code ?? error.message}).`)
  })
  // Only these commands need the condition language; the others start faster without it.
  const [{ compilePolicy }, { PolicyError }] = await Promise.all([
    import('../approvals/policy.ts'),
    import('../approvals/policy-document.ts'),
  ])
  try {
    return { compiled: compilePolicy(text), issues: [] }
  } catch (error) {
    if (error instanceof PolicyError) return { compiled: undefined, issues: error.issues }
    throw error
  }
}
