const byExtension: Readonly<Record<string, readonly string[]>> = {
  Assembly: ['asm', 's'],
  C: ['c', 'h'],
  'C#': ['cs'],
  'C++': ['cc', 'cpp', 'cxx', 'hh', 'hpp', 'hxx'],
  CSS: ['css', 'less', 'sass', 'scss'],
  Clojure: ['clj', 'cljc', 'cljs'],
  Dart: ['dart'],
  Elixir: ['ex', 'exs'],
  Erlang: ['erl', 'hrl'],
  'F#': ['fs', 'fsi', 'fsx'],
  Go: ['go'],
  GraphQL: ['gql', 'graphql'],
  HCL: ['hcl', 'tf', 'tfvars'],
  HTML: ['htm', 'html'],
  Haskell: ['hs'],
  JSON: ['json', 'jsonc'],
  Java: ['java'],
  JavaScript: ['cjs', 'js', 'jsx', 'mjs'],
  Julia: ['jl'],
  Kotlin: ['kt', 'kts'],
  Lua: ['lua'],
  Markdown: ['markdown', 'md', 'mdx'],
  Nix: ['nix'],
  OCaml: ['ml', 'mli'],
  'Objective-C': ['m', 'mm'],
  PHP: ['php'],
  Perl: ['pl', 'pm'],
  PowerShell: ['ps1', 'psm1'],
  'Protocol Buffers': ['proto'],
  Python: ['py', 'pyi'],
  R: ['r'],
  Ruby: ['gemspec', 'rake', 'rb'],
  Rust: ['rs'],
  SQL: ['sql'],
  Scala: ['sc', 'scala'],
  Shell: ['bash', 'fish', 'sh', 'zsh'],
  Svelte: ['svelte'],
  Swift: ['swift'],
  TOML: ['toml'],
  TypeScript: ['cts', 'mts', 'ts', 'tsx'],
  Vue: ['vue'],
  XML: ['xml', 'xsd', 'xsl'],
  YAML: ['yaml', 'yml'],
  Zig: ['zig'],
}

const languageOf = new Map(
  Object.entries(byExtension).flatMap(([language, extensions]) => extensions.map((one) => [one, language] as const)),
)

const byName: ReadonlyMap<string, string> = new Map([
  ['dockerfile', 'Dockerfile'],
  ['containerfile', 'Dockerfile'],
  ['makefile', 'Makefile'],
  ['gnumakefile', 'Makefile'],
  ['cmakelists.txt', 'CMake'],
  ['jenkinsfile', 'Groovy'],
  ['gemfile', 'Ruby'],
  ['rakefile', 'Ruby'],
])

/** The language of a file by its name, or its extension; `Other` where neither tells. */
export function nameLanguage(path: string): string {
  const name = path.slice(path.lastIndexOf('/') + 1).toLowerCase()
  const dot = name.lastIndexOf('.')
  return byName.get(name) ?? (dot > 0 ? languageOf.get(name.slice(dot + 1)) : undefined) ?? 'Other'
}
