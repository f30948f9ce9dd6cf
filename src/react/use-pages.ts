import { useState } from 'react'

export interface Paging {
  /** 1, 2, … */
  readonly page: number
  /** Number of the first entry on the page, from 1. */
  readonly first: number
  readonly hasNewer: boolean
  readonly hasOlder: boolean
  readonly newer: () => void
  readonly older: () => void
}

interface Position {
  readonly filterKey: string
  /** One token per page that was left behind, so that the way back needs no token of its own. */
  readonly tokens: readonly string[]
}

/** Steps through a list by its page tokens. Another filter begins at its first page. */
export function usePages(filter: unknown, pageSize: number) {
  const filterKey = JSON.stringify(filter)
  const [position, setPosition] = useState<Position>({ filterKey, tokens: [] })
  const tokens = position.filterKey === filterKey ? position.tokens : []
  return {
    pageToken: tokens.at(-1),
    /** What the page says of those after it; `changing` while another page is being read. */
    pagingTo: (next: string | null, changing: boolean): Paging => ({
      page: tokens.length + 1,
      first: tokens.length * pageSize + 1,
      hasNewer: tokens.length > 0,
      hasOlder: next !== null && !changing,
      newer: () => setPosition({ filterKey, tokens: tokens.slice(0, -1) }),
      older: () => next !== null && setPosition({ filterKey, tokens: [...tokens, next] }),
    }),
  }
}
