import { once } from 'node:events'
import type { Command } from 'commander'
import { addAuditCommand } from './audit.ts'
import { addApprovalsCommand } from './approvals.ts'
import { addBatchesCommand } from './batches.ts'
import { addClustersCommand } from './clusters.ts'
import { addConsoleCommand } from './console.ts'
import { addDeadLettersCommand } from './dead-letters.ts'
import { addNotificationsCommand } from './notifications.ts'
import { addOperationsCommand } from './operations.ts'
import { InterruptedError, type Terminal, type TextOutput } from './output.ts'
import { addPolicyCommand } from './policy.ts'
import { addQueuesCommand } from './queues.ts'
import { addSchedulesCommand } from './schedules.ts'
import { addRoleBindingsCommand } from './role-bindings.ts'
import { addSubmitCommand } from './submit.ts'
import { addTasksCommand } from './tasks.ts'
import { addTokensCommand } from './tokens.ts'

/** Adds every command that talks to a running server over HTTP. */
export function addClientCommands(program: Command, terminal: Terminal = processTerminal()): void {
  addSubmitCommand(program, terminal)
  addTasksCommand(program, terminal)
  addApprovalsCommand(program, terminal)
  addNotificationsCommand(program, terminal)
  addPolicyCommand(program, terminal)
  addBatchesCommand(program, terminal)
  addDeadLettersCommand(program, terminal)
  addQueuesCommand(program, terminal)
  addSchedulesCommand(program, terminal)
  addOperationsCommand(program, terminal)
  addClustersCommand(program, terminal)
  addConsoleCommand(program, terminal)
  addTokensCommand(program, terminal)
  addAuditCommand(program, terminal)
  addRoleBindingsCommand(program, terminal)
}

/** The terminal, the environment and the exit code of this process. */
export function processTerminal(): Terminal {
  return {
    stdout: outputOf(process.stdout),
    stderr: outputOf(process.stderr),
    env: process.env,
    setExitCode: (code) => {
      process.exitCode = code
    },
    onInterrupt: () => {
      const interrupt = new AbortController()
      const abort = () => interrupt.abort(new InterruptedError('Interrupted.'))
      process.once('SIGINT', abort)
      return { signal: interrupt.signal, release: () => process.off('SIGINT', abort) }
    },
  }
}

function outputOf(stream: NodeJS.WriteStream): TextOutput {
  // The reader has seen enough (`| head`); whatever is still to come interests nobody.
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit()
    throw error
  })
  return {
    // Undefined, not false, where stdout is a file or a pipe.
    isTTY: stream.isTTY === true,
    get columns() {
      return stream.columns ?? 80
    },
    write: (text) => void stream.write(text),
    drained: async () => {
      if (stream.writableNeedDrain) await once(stream, 'drain')
    },
  }
}
