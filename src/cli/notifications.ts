import { type Command, InvalidArgumentError } from 'commander'
import { type NotificationKind, notificationKinds } from '../contract/notification.ts'
import { addConnectionOptions, connect, type ConnectionOptions } from './connection.ts'
import { exitCodes, paint, printJson, printLine, runCommand, type Terminal } from './output.ts'
import { UsageError } from './usage-error.ts'

interface ListOptions extends ConnectionOptions {
  readonly unread?: boolean
}

interface ReadOptions extends ConnectionOptions {
  readonly all?: boolean
}

/** `sluice notifications list | read | mute | unmute` */
export function addNotificationsCommand(program: Command, terminal: Terminal): void {
  const notifications = program.command('notifications').description('what happened and concerns you')
  addConnectionOptions(
    notifications.command('list').description('newest first').option('--unread', 'only what you have not read'),
  ).action((options: ListOptions) =>
    runCommand(terminal, options, async (signal) => {
      const client = await connect(options, terminal.env)
      const page = await client.listNotifications({ unread: options.unread }, { signal })
      if (options.json === true) printJson(terminal, page)
      else if (page.items.length === 0) printLine(terminal, 'No notifications.')
      else
        for (const { notification_id: id, created_at: at, title, read } of page.items)
          printLine(terminal, paint(terminal, read ? 'dim' : 'bold', `${id}  ${at}  ${title}`))
      return exitCodes.completed
    }),
  )

  addConnectionOptions(
    notifications
      .command('read [notifications...]')
      .description('mark as read')
      .option('--all', 'everything up to now'),
  ).action((ids: string[], options: ReadOptions) =>
    runCommand(terminal, options, async (signal) => {
      if (ids.length === 0 && options.all !== true) throw new UsageError('Which ones? Name them, or say --all.')
      const client = await connect(options, terminal.env)
      for (const id of ids) await client.markNotificationRead(id, { signal })
      const marked = options.all === true ? await client.markAllNotificationsRead({ signal }) : ids.length
      if (options.json === true) printJson(terminal, { marked })
      else printLine(terminal, `${marked} marked as read.`)
      return exitCodes.completed
    }),
  )

  for (const verb of ['mute', 'unmute'] as const) {
    addConnectionOptions(
      notifications
        .command(verb)
        .argument('[kinds...]', notificationKinds.join(', '), collectKind, [])
        .description(`${verb === 'mute' ? 'hear no more' : 'hear again'} of these kinds; without any, what is muted`),
    ).action((kinds: NotificationKind[], options: ConnectionOptions) =>
      runCommand(terminal, options, async (signal) => {
        const client = await connect(options, terminal.env)
        const before = await client.mutedNotifications({ signal })
        const others = before.filter((kind) => !kinds.includes(kind))
        const wanted = verb === 'mute' ? [...others, ...kinds] : others
        const muted = kinds.length === 0 ? before : await client.muteNotifications(wanted, { signal })
        if (options.json === true) printJson(terminal, { muted })
        else printLine(terminal, `Muted: ${muted.join(', ') || 'nothing'}.`)
        return exitCodes.completed
      }),
    )
  }
}

function collectKind(text: string, before: NotificationKind[]): NotificationKind[] {
  const kind = notificationKinds.find((known) => known === text)
  if (!kind) throw new InvalidArgumentError(`It is one of ${notificationKinds.join(', ')}.`)
  return [...before, kind]
}
