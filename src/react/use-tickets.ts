import { keepPreviousData, useInfiniteQuery, useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { SluiceProblem } from '../client/index.ts'
import type { Ticket, TicketDetail, TicketFilter, TicketItem } from '../contract/approval.ts'
import { taskKeys, ticketKeys } from './query-keys.ts'
import { useSluiceClient } from './sluice-provider.tsx'
import { useFreshness } from './use-freshness.ts'
import { usePages } from './use-pages.ts'
import type { ListView } from './use-tasks.ts'

export interface TicketsView extends ListView {
  readonly tickets: readonly Ticket[]
}

/** Approval requests, kept live: by default the open ones that the caller may decide, oldest first. */
export function useTickets(filter: TicketFilter = {}): TicketsView {
  const client = useSluiceClient()
  const freshness = useFreshness()
  const pageSize = filter.page_size ?? 50
  const { pageToken, pagingTo } = usePages(filter, pageSize)
  const query = { ...filter, page_size: pageSize, page_token: pageToken }
  const { data, error, isPending, isPlaceholderData, refetch } = useQuery({
    queryKey: ticketKeys.list(query),
    queryFn: ({ signal }) => client.listTickets(query, { signal }),
    placeholderData: keepPreviousData,
    // An approval that is not the last one moves no task: nobody tells of it.
    refetchInterval: () => freshness.refetchInterval(true),
  })
  const tickets = data?.items ?? []
  return {
    state: isPending ? 'loading' : data === undefined ? 'error' : tickets.length === 0 ? 'empty' : 'ready',
    tickets,
    stale: data !== undefined && (freshness.stale || error !== null),
    changing: isPlaceholderData,
    error,
    retry: () => void refetch(),
    paging: pagingTo(data?.next_page_token ?? null, isPlaceholderData),
  }
}

export interface TicketView {
  /** `missing`: there is no such ticket, or it is not the caller's to see. */
  readonly state: 'loading' | 'error' | 'missing' | 'ready'
  readonly ticket: TicketDetail | null
  readonly stale: boolean
  readonly error: Error | null
  readonly retry: () => void
}

/** One approval request, with what the cluster says of it now. */
export function useTicket(ticketId: string): TicketView {
  const client = useSluiceClient()
  const freshness = useFreshness()
  const { data, error, isPending, refetch } = useQuery({
    queryKey: ticketKeys.detail(ticketId),
    queryFn: ({ signal }) => client.getTicket(ticketId, { signal }),
    refetchInterval: ({ state }) => freshness.refetchInterval(state.data?.state === 'open'),
  })
  const missing = error instanceof SluiceProblem && (error.status === 404 || error.status === 410)
  return {
    state: missing ? 'missing' : isPending ? 'loading' : data === undefined ? 'error' : 'ready',
    ticket: data ?? null,
    stale: data !== undefined && (freshness.stale || error !== null),
    error,
    retry: () => void refetch(),
  }
}

export interface TicketItemsView {
  readonly state: 'loading' | 'error' | 'ready'
  readonly items: readonly TicketItem[]
  readonly error: Error | null
  readonly hasMore: boolean
  /** Reads the next page, and shows it below. */
  readonly more: () => void
}

/** The changes of a batch that a ticket is about, in their order. */
export function useTicketItems(ticketId: string): TicketItemsView {
  const client = useSluiceClient()
  const { data, error, isPending, hasNextPage, fetchNextPage } = useInfiniteQuery({
    queryKey: ticketKeys.items(ticketId),
    queryFn: ({ pageParam, signal }) => client.ticketItems(ticketId, { page_token: pageParam }, { signal }),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_page_token ?? undefined,
  })
  return {
    state: isPending ? 'loading' : data === undefined ? 'error' : 'ready',
    items: data?.pages.flatMap(({ items }) => items) ?? [],
    error,
    hasMore: hasNextPage,
    more: () => void fetchNextPage(),
  }
}

export type Verdict = 'approve' | 'reject' | 'withdraw'

export interface Decision {
  readonly verdict: Verdict
  readonly comment: string
  /** Tasks of a batch to reject. @default all of them */
  readonly items?: readonly string[]
}

export interface DecisionView {
  /** The decision on its way; null where none is. */
  readonly sending: Verdict | null
  readonly error: Error | null
  /** Resolves true when the server took it; after a refusal `error` says why. */
  readonly decide: (decision: Decision) => Promise<boolean>
}

/** Decides one ticket: about exactly the payload, the rule and the dry run that were shown. */
export function useDecision(ticket: TicketDetail): DecisionView {
  const client = useSluiceClient()
  const queryClient = useQueryClient()
  const { error, isPending, variables, mutateAsync } = useMutation({
    mutationFn: ({ verdict, comment, items }: Decision) => {
      const said = comment.trim() === '' ? {} : { comment: comment.trim() }
      if (verdict === 'withdraw') return client.withdrawTicket(ticket.ticket_id, said)
      const digest = ticket.dry_run?.diff_digest
      const seen = {
        ...said,
        payload_hash: ticket.payload_hash,
        rule_digest: ticket.rule_digest,
        ...(typeof digest === 'string' && { diff_digest: digest }),
      }
      return verdict === 'approve'
        ? client.approveTicket(ticket.ticket_id, seen)
        : client.rejectTicket(ticket.ticket_id, { ...seen, ...(items && { items: [...items] }) })
    },
    // After a refusal as well: somebody else may have been faster.
    onSettled: async () => {
      await queryClient.invalidateQueries({ queryKey: ticketKeys.all })
      await queryClient.invalidateQueries({ queryKey: taskKeys.all })
    },
  })
  return {
    sending: isPending ? variables.verdict : null,
    error,
    decide: (decision) =>
      mutateAsync(decision).then(
        () => true,
        () => false,
      ),
  }
}
