import { describe, expect, test } from 'vitest'
import { checkBasePaths, fillBasePath } from './base-path.ts'

const organization = '/apis/resourcemanager.miloapis.com/v1alpha1/organizations/{org}/control-plane'
const project = '/apis/resourcemanager.miloapis.com/v1alpha1/projects/{project}/control-plane'

describe('base path', () => {
  test('fills the template that takes these variables', () => {
    expect(fillBasePath([organization, project], { org: 'acme' })).toBe(
      '/apis/resourcemanager.miloapis.com/v1alpha1/organizations/acme/control-plane',
    )
    expect(fillBasePath([organization, project], { project: 'web' })).toBe(
      '/apis/resourcemanager.miloapis.com/v1alpha1/projects/web/control-plane',
    )
    expect(fillBasePath(['/k8s/clusters/c-1'], {})).toBe('/k8s/clusters/c-1')
  })

  test('is empty on a cluster without templates, such as the simulated one', () => {
    expect(fillBasePath([], { org: 'acme' })).toBe('')
  })

  test('is empty without variables, too: what belongs to nobody is on the server itself', () => {
    expect(fillBasePath([organization], {})).toBe('')
  })

  test('none fits: refused, since the root is another control plane', () => {
    expect(() => fillBasePath([organization], { project: 'web' })).toThrow(
      'No base path of this cluster takes the variables project',
    )
    expect(() => fillBasePath([organization], { org: 'acme', project: 'web' })).toThrow('org, project')
  })

  test.each(['', '.', '..', 'a/b', '../x'])('the value "%s" is refused', (org) => {
    expect(() => fillBasePath([organization], { org })).toThrow('cannot be the org')
  })

  test('values are encoded', () => {
    expect(fillBasePath(['/x/{a}'], { a: 'b?c#d%e' })).toBe('/x/b%3Fc%23d%25e')
  })

  test.each(['apis', '/apis/', '/a//b', '/a/../b', '/a?b', '/a/{b', '/a/ b', ''])(
    'the template "%s" is refused',
    (template) => {
      expect(() => checkBasePaths([template])).toThrow('is no base path')
    },
  )

  test('good templates pass', () => {
    expect(() => checkBasePaths([organization, project, '/k8s/clusters/c-m-1'])).not.toThrow()
  })
})
