/**
 * Members that a JSON text names twice in one object, as paths such as `spec.size`. JSON.parse keeps the last one in
 * silence. The text must be valid JSON.
 */
export function findDuplicateMembers(text: string): readonly string[] {
  const found: string[] = []
  const open: { readonly members: Set<string> | undefined; index: number; member: string }[] = []
  const token = /"(?:[^"\\]|\\.)*"|[{}[\],:]/g
  let expectsMember = false
  for (let match = token.exec(text); match !== null; match = token.exec(text)) {
    const [part] = match
    const level = open.at(-1)
    if (part === '{' || part === '[') {
      open.push({ members: part === '{' ? new Set() : undefined, index: 0, member: '' })
      expectsMember = part === '{'
    } else if (part === '}' || part === ']') open.pop()
    else if (part === ',') {
      if (level !== undefined) level.index += 1
      expectsMember = level?.members !== undefined
    } else if (part === ':') expectsMember = false
    else if (expectsMember && level?.members !== undefined) {
      level.member = String(JSON.parse(part))
      if (level.members.has(level.member)) found.push(pathOf(open))
      level.members.add(level.member)
    }
  }
  return found
}

function pathOf(
  open: readonly { readonly members: unknown; readonly index: number; readonly member: string }[],
): string {
  return open
    .map(({ members, index, member }) => (members === undefined ? `[${index}]` : `.${member}`))
    .join('')
    .slice(1)
}
