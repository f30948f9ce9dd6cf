import { ClusterConfigurationError } from './cluster-errors.ts'

/**
 * Fills a base-path template, such as `/apis/…/organizations/{org}/control-plane`. Of several templates, the first one
 * that needs exactly the given variables is taken. Without templates (also on the simulated cluster), and without
 * variables, the target is the server itself: `''`.
 *
 * @throws ClusterConfigurationError when there are templates and none fits: the root would be another control plane
 */
export function fillBasePath(templates: readonly string[], variables: Readonly<Record<string, string>>): string {
  const given = Object.keys(variables)
  if (templates.length === 0) return ''
  const template = templates.find((each) => {
    const needed = variablesOf(each)
    return needed.length === given.length && needed.every((name) => given.includes(name))
  })
  if (template === undefined && given.length === 0) return ''
  if (template === undefined) {
    throw new ClusterConfigurationError(
      `No base path of this cluster takes the variables ${given.join(', ')}. It has: ${templates.join(', ')}.`,
    )
  }
  return template.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeValue(name, variables[name] ?? ''))
}

/** Checks templates when the cluster is configured, so that a typing error does not wait for the first request. */
export function checkBasePaths(templates: readonly string[]): void {
  for (const template of templates) {
    if (!/^(\/([\w.~-]+|\{\w+\}))+$/.test(template) || /\/\.{1,2}(\/|$)/.test(template)) {
      throw new ClusterConfigurationError(
        `"${template}" is no base path. Write /segments with {variables}, without a slash at the end.`,
      )
    }
  }
}

function variablesOf(template: string): string[] {
  return [...new Set([...template.matchAll(/\{(\w+)\}/g)].map((match) => match[1] ?? ''))]
}

function encodeValue(name: string, value: string): string {
  if (value === '' || value === '.' || value === '..' || value.includes('/')) {
    throw new ClusterConfigurationError(`"${value}" cannot be the ${name} in a base path.`)
  }
  return encodeURIComponent(value)
}
