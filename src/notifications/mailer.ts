import { createTransport } from 'nodemailer'

export interface Mail {
  readonly to: string
  readonly subject: string
  readonly text: string
  /** The same for every try, so that a mail that came twice shows as one. */
  readonly messageId: string
}

/** Hands mail to the operator's own server. */
export interface Mailer {
  /** Resolves when the server has taken it. */
  send(mail: Mail): Promise<void>
  stop(): void
}

export interface MailerOptions {
  /** `smtp://user:password@host:587`, or `smtps://…`. */
  readonly url: string
  /** @default 'sluice@localhost' */
  readonly from?: string
}

const timeoutMs = 15_000

export function createMailer({ url, from = 'sluice@localhost' }: MailerOptions): Mailer {
  const timeouts = { connectionTimeout: timeoutMs, greetingTimeout: timeoutMs, socketTimeout: timeoutMs }
  // Content comes from names that people chose: nothing in it may make the transport read a file or a URL.
  const transport = createTransport({ url, ...timeouts, disableFileAccess: true, disableUrlAccess: true })
  return {
    send: async (mail) => {
      await transport.sendMail({ ...mail, from })
    },
    stop: () => transport.close(),
  }
}
