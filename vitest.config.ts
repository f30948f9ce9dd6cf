import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['src/**/*.test.{ts,tsx}', 'web/**/*.test.ts', 'test/**/*.test.ts'],
    globalSetup: ['test/helpers/postgres-server.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Somebody else may have both cores for a while.
    expect: { poll: { timeout: 20_000 } },
    // Two cores: every file talks to a real PostgreSQL, and more workers only make each other late.
    maxWorkers: 2,
  },
})
