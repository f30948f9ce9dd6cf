/** What the platform starts and stops. Both may be called more than once; the second call changes nothing. */
export interface Lifecycle {
  /** Connects. Rejects when the service cannot be reached or its library is not installed. */
  start(): Promise<void>
  /** Takes no more work, waits for what is in hand, and releases every connection and timer. */
  stop(): Promise<void>
}
