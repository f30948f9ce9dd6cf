import { existsSync } from 'node:fs'
import { chromium, type Browser } from 'playwright-core'

const places = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']

/** Where Chromium is (`CHROMIUM_PATH` says so too), or undefined: then tests in a browser are skipped, with a message. */
const chromiumPath = [process.env['CHROMIUM_PATH'], ...places].find((path) => path !== undefined && existsSync(path))

/** True where there is no browser; says so once per file that asks. */
export function lacksBrowser(): boolean {
  if (chromiumPath === undefined) console.warn('Skipped: no Chromium here. Install it, or set CHROMIUM_PATH.')
  return chromiumPath === undefined
}

export function launchBrowser(): Promise<Browser> {
  if (chromiumPath === undefined) throw new Error('There is no Chromium; ask lacksBrowser() first')
  const quiet = ['--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run']
  return chromium.launch({ executablePath: chromiumPath, args: ['--no-sandbox', '--disable-gpu', ...quiet] })
}
