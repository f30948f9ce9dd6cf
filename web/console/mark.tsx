/** The sluice gate. Decoration: the word stands beside it wherever it matters. */
export function Mark({ large = false }: { readonly large?: boolean }) {
  return (
    <svg className="mark" data-large={large} viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="7" className="mark-ground" />
      <path d="M7 7h4v18H7zM21 7h4v18h-4z" className="mark-post" />
      <path d="M11 10h10v6H11z" className="mark-gate" />
      <path d="M11 21c1.7-1.6 3.3-1.6 5 0s3.3 1.6 5 0" className="mark-water" />
    </svg>
  )
}
