import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startSimulatedCluster, type SimulatedCluster } from '../../../src/kubernetes/simulated/simulated-cluster.ts'
import { widgetDefinition } from './widget-definition.ts'

const found = spawnSync('kubectl', ['version', '--client'], { encoding: 'utf8' })
const absent = found.status !== 0
if (absent) console.warn('kubectl is not on this machine: its tests are skipped.')

let cluster: SimulatedCluster
let folder: string

beforeAll(async () => {
  cluster = await startSimulatedCluster({
    controllers: { projectReadyAfterMs: 200, podReadyAfterMs: 50, jobDurationMs: 50 },
  })
  folder = mkdtempSync(join(tmpdir(), 'kubectl-'))
  writeFileSync(join(folder, 'config'), cluster.kubeconfig())
})

afterAll(async () => {
  await cluster.stop()
  rmSync(folder, { recursive: true, force: true })
})

interface Run {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** Asynchronous: the cluster answers from this very process. */
async function kubectl(args: readonly string[], input = ''): Promise<Run> {
  const environment = { ...process.env, KUBECONFIG: join(folder, 'config'), HOME: folder }
  const child = spawn('kubectl', [...args], { env: environment })
  const [out, err]: [Buffer[], Buffer[]] = [[], []]
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk))
  child.stdin.end(input)
  const [code] = (await once(child, 'close')) as [number | null]
  return { code: code ?? -1, out: Buffer.concat(out).toString(), err: Buffer.concat(err).toString() }
}

async function works(args: readonly string[], input = ''): Promise<string> {
  const { code, out, err } = await kubectl(args, input)
  expect(code, `kubectl ${args.join(' ')}: ${err}`).toBe(0)
  return out
}

function project(name: string, label = 'first'): string {
  return JSON.stringify({
    apiVersion: 'resourcemanager.miloapis.com/v1alpha1',
    kind: 'Project',
    metadata: { name, labels: { label } },
    spec: { ownerRef: { kind: 'Organization', name: 'acme' } },
  })
}

describe.skipIf(absent)('kubectl on the simulated cluster', () => {
  test('apply --server-side, wait for a condition, get as table and as YAML, delete', async () => {
    expect(await works(['apply', '--server-side', '-f', '-'], project('one'))).toContain('serverside-applied')
    expect(await works(['wait', '--for=condition=Ready', 'project/one', '--timeout=20s'])).toContain('condition met')
    expect(await works(['get', 'projects.resourcemanager.miloapis.com'])).toMatch(
      /^NAME +ORGANIZATION +READY +AGE\none +acme +True/,
    )
    expect(await works(['get', 'projects.resourcemanager.miloapis.com', '-o', 'yaml'])).toContain('name: one')
    expect(await works(['delete', 'project', 'one', '--timeout=20s'])).toContain('deleted')
    expect((await kubectl(['get', 'project', 'one'])).err).toContain('NotFound')
  })

  test('client-side apply creates, leaves alone, configures, and shows a dry run of the server', async () => {
    expect(await works(['apply', '-f', '-'], project('two'))).toContain('created')
    expect(await works(['apply', '-f', '-'], project('two'))).toContain('unchanged')
    const dry = await works(['apply', '--dry-run=server', '-o', 'yaml', '-f', '-'], project('two', 'second'))
    expect(dry).toContain('label: second')
    expect(await works(['get', 'project', 'two', '-o', 'jsonpath={.metadata.labels.label}'])).toBe('first')
    expect(await works(['apply', '-f', '-'], project('two', 'second'))).toContain('configured')
  })

  test('a built-in kind is applied on the client side with a strategic merge patch', async () => {
    const deployment = (image: string): string =>
      JSON.stringify({
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: { name: 'web' },
        spec: {
          replicas: 2,
          selector: { matchLabels: { app: 'web' } },
          template: {
            metadata: { labels: { app: 'web' } },
            spec: { containers: [{ name: 'web', image, ports: [{ containerPort: 80 }] }] },
          },
        },
      })
    expect(await works(['apply', '-f', '-'], deployment('nginx:1'))).toContain('created')
    expect(await works(['rollout', 'status', 'deployment/web', '--timeout=20s'])).toContain('successfully rolled out')
    expect(await works(['apply', '-f', '-'], deployment('nginx:2'))).toContain('configured')
    expect(await works(['rollout', 'status', 'deployment/web', '--timeout=20s'])).toContain('successfully rolled out')
    expect(await works(['scale', 'deployment/web', '--replicas=3'])).toContain('scaled')
    expect(await works(['get', 'deployment', 'web', '-o', 'jsonpath={.spec.replicas}'])).toBe('3')
    expect(await works(['describe', 'deployment', 'web'])).toMatch(/Image: +nginx:2[\s\S]*Scaled up replica set/)
    expect(await works(['delete', 'deployment', 'web', '--cascade=foreground', '--timeout=20s'])).toContain('deleted')
    expect(await works(['get', 'pods,replicasets'])).toBe('')
  })

  test('an unknown field is refused before anything is written', async () => {
    const typo = project('typo').replace('"ownerRef"', '"ownerReff"')
    const applied = await kubectl(['apply', '--server-side', '-f', '-'], typo)
    expect(applied.code).toBe(1)
    expect(applied.err).toContain('field not declared in schema')
    const created = await kubectl(['create', '-f', '-'], project('typo').replace('"spec"', '"specs"'))
    expect(created.err).toContain('unknown field "specs"')
    expect((await kubectl(['get', 'project', 'typo'])).code).toBe(1)
  })

  test('a conflict names the other manager, and --force-conflicts takes the field', async () => {
    await works(['apply', '--server-side', '--field-manager=one', '-f', '-'], project('three', 'first'))
    const args = ['apply', '--server-side', '--field-manager=two', '-f', '-']
    const refused = await kubectl(args, project('three', 'second'))
    expect(refused.code).toBe(1)
    expect(refused.err).toContain('conflict with "one": .metadata.labels.label')
    await works([...args, '--force-conflicts'], project('three', 'second'))
  })

  test('create makes namespaces, config maps, secrets, deployments and jobs', async () => {
    await works(['create', 'namespace', 'made'])
    await works(['create', 'configmap', 'settings', '--from-literal=a=b', '-n', 'made'])
    await works(['create', 'secret', 'generic', 'keys', '--from-literal=a=b', '-n', 'made'])
    await works(['create', 'deployment', 'web', '--image=nginx:1', '-n', 'made'])
    await works(['create', 'job', 'once', '--image=busybox:1', '-n', 'made', '--', 'true'])
    await works(['wait', '--for=condition=complete', 'job/once', '-n', 'made', '--timeout=20s'])
    expect(await works(['get', 'secret', 'keys', '-n', 'made', '-o', 'jsonpath={.data.a}'])).toBe('Yg==')
    await works(['delete', 'namespace', 'made', '--timeout=20s'])
    expect((await kubectl(['get', 'configmap', 'settings', '-n', 'made'])).err).toContain('NotFound')
  })

  test('a definition is served with its columns, short names and documentation', async () => {
    await works(['apply', '-f', '-'], JSON.stringify(widgetDefinition))
    await works(['wait', '--for=condition=Established', 'crd/widgets.conformance.sluice.dev', '--timeout=20s'])
    const widget = {
      apiVersion: 'conformance.sluice.dev/v1',
      kind: 'Widget',
      metadata: { name: 'w' },
      spec: { size: 7 },
    }
    await works(['apply', '-f', '-'], JSON.stringify(widget))
    expect(await works(['get', 'wd'])).toMatch(/^NAME +SIZE +READY\nw +7/)
    expect(await works(['get', 'widgets', '--field-selector=spec.color=grey', '-o', 'name'])).toContain(
      'widget.conformance.sluice.dev/w',
    )
    expect(await works(['explain', 'widget.spec.parts'])).toContain('count')
    expect(await works(['describe', 'widget', 'w'])).toContain('Color:  grey')
    await works(['patch', 'widget', 'w', '--type=merge', '-p', '{"spec":{"size":8}}'])
    await works(['delete', 'crd', 'widgets.conformance.sluice.dev', '--timeout=20s'])
    expect((await kubectl(['get', 'widgets'])).code).toBe(1)
  })

  test('get -w prints what changes', async () => {
    const environment = { ...process.env, KUBECONFIG: join(folder, 'config'), HOME: folder }
    const watch = spawn('kubectl', ['get', 'projects', '-w', '--no-headers'], { env: environment })
    let seen = ''
    watch.stdout.on('data', (chunk: Buffer) => (seen += chunk.toString()))
    try {
      await expect.poll(() => cluster.watchCount, { timeout: 20_000 }).toBeGreaterThan(0)
      await works(['apply', '--server-side', '-f', '-'], project('watched'))
      await expect.poll(() => seen, { timeout: 20_000 }).toMatch(/watched +acme +False[\s\S]*watched +acme +True/)
    } finally {
      watch.kill()
    }
  })

  test('auth can-i and whoami answer', async () => {
    expect(await works(['auth', 'can-i', 'create', 'projects.resourcemanager.miloapis.com'])).toContain('yes')
    const nobody = await kubectl(['auth', 'can-i', 'create', 'configmaps', '--as=nobody'])
    expect(nobody.out).toContain('no')
    expect(await works(['auth', 'whoami'])).toContain('simulated-admin')
  })
})
