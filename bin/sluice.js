#!/usr/bin/env node
// Runs on every Node that knows modules, as far as saying that it is too old: nothing newer than ES2017 here.
import { spawn } from 'child_process'
import { existsSync } from 'fs'
import { dirname, join } from 'path'
import { fileURLToPath, pathToFileURL } from 'url'

const needed = [22, 19]
const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const isCheckout = existsSync(join(root, 'src/cli/main.ts'))
const ownNode = join(root, 'node_modules/node/bin/node')
const entry = join(root, 'dist/cli/main.js')

if (!isNewEnough(process.versions.node)) {
  if (isCheckout && existsSync(ownNode)) runWith(ownNode)
  else refuse(describeOldNode())
} else if (!existsSync(entry)) {
  refuse('Sluice is not built: ' + entry + ' is missing. Run: npm run build')
} else {
  import(pathToFileURL(entry).href)
    .then((cli) => cli.runCli(process.argv.slice(2)))
    .then((exitCode) => process.exit(exitCode))
    .catch((error) => {
      refuse(process.env.SLUICE_DEBUG === '1' ? error.stack : 'Sluice failed: ' + error.message)
    })
}

function isNewEnough(version) {
  const [major, minor] = version.split('.').map(Number)
  return major > needed[0] || (major === needed[0] && minor >= needed[1])
}

function describeOldNode() {
  const found = 'Sluice needs Node ' + needed.join('.') + ' or newer, and this is Node ' + process.versions.node + '.'
  if (!isCheckout) return found + ' Install a newer one from https://nodejs.org and try again.'
  return found + ' The one that npm ci brings is missing (' + ownNode + '): run npm ci again, without --ignore-scripts.'
}

/** Takes the place of this process as well as a child can: same terminal, same signals, same exit code. */
function runWith(node) {
  // The channel tells the child when this process is killed without being able to pass that on.
  const child = spawn(node, process.argv.slice(1), { stdio: ['inherit', 'inherit', 'inherit', 'ipc'] })
  // Ctrl-C in a terminal reaches the child by itself as well, which takes the two for one.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  child.on('error', (error) => refuse('Node could not be started (' + error.message + ').'))
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code)
    process.removeAllListeners(signal)
    process.kill(process.pid, signal)
  })
}

function refuse(message) {
  console.error(message)
  process.exit(1)
}
