import type { DemoUser } from './demo-users.ts'

/** One form per user. The names are the demo's own, and letters only. */
export function loginPage(uid: string, users: readonly DemoUser[]): string {
  const forms = users.map(
    ({ name, title }) =>
      `<form method="post" action="/interaction/${encodeURIComponent(uid)}?as=${encodeURIComponent(name)}">` +
      `<button>${title}</button></form>`,
  )
  return page(
    'Who are you today?',
    `<p>This identity provider is Sluice’s demo: nobody has a password.</p>${forms.join('')}`,
  )
}

/** `form` is the provider's own, empty of buttons. */
export function logoutPage(form: string): string {
  return page(
    'Sign out',
    `${form}<button autofocus type="submit" form="op.logoutForm" name="logout" value="yes">Sign out</button>`,
  )
}

function page(title: string, body: string): string {
  const style =
    'body{font:16px/1.5 system-ui,sans-serif;max-width:24rem;margin:4rem auto;padding:0 1rem}' +
    'button{font:inherit;width:100%;padding:.6rem;margin:.25rem 0;cursor:pointer}'
  return (
    `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${title}</title>` +
    `<meta name="viewport" content="width=device-width"><style>${style}</style></head>` +
    `<body><main><h1>${title}</h1>${body}</main></body></html>`
  )
}
