export type { Cache, CacheCapabilities, CacheSetOptions } from './cache.ts'
export { type Clock, createManualClock, type ManualClock, systemClock } from './clock.ts'
export {
  type Config,
  type ConfigEntry,
  ConfigError,
  type ConfigProblem,
  type ConfigSchema,
  secretSetting,
} from './config.ts'
export {
  type CacheSettings,
  type ConfigOptions,
  createConfig,
  createPlatform,
  type DbSettings,
  type FeatureFlagsSettings,
  type LoggerSettings,
  type ObjectStorageSettings,
  type OwnAdapter,
  type PlatformOptions,
  type PubSubSettings,
  type SecretsSettings,
  type TracerSettings,
} from './create-platform.ts'
export { createTestPlatform, type TestPlatform, type TestPlatformOptions } from './create-test-platform.ts'
export {
  type Db,
  type DbCapabilities,
  type DbSession,
  type DbTransaction,
  type Isolation,
  type Row,
  SerializationError,
  StatementTimeoutError,
  TransactionError,
  type TransactionOptions,
} from './db.ts'
export { type EventEnvelope, eventEnvelopeSchema, type NewEvent } from './event-envelope.ts'
export type { FeatureFlags, FlagContext, FlagValue } from './feature-flags.ts'
export {
  forgetConsumedEvents,
  idempotentConsumer,
  type IdempotentConsumerOptions,
  type TransactionalEventHandler,
} from './idempotent-consumer.ts'
export type { Lifecycle } from './lifecycle.ts'
export type { LogFields, Logger, LogLevel } from './logger.ts'
export type { MemoryFeatureFlags, MemoryFlag } from './memory/memory-feature-flags.ts'
export type { LogLine, MemoryLogger } from './memory/memory-logger.ts'
export type { MemorySecrets } from './memory/memory-secrets.ts'
export type { MemoryTracer, RecordedSpan } from './memory/memory-tracer.ts'
export {
  type ListOptions,
  type ObjectBody,
  type ObjectInfo,
  ObjectNotFoundError,
  type ObjectPage,
  type ObjectStorage,
  type ObjectStorageCapabilities,
  type PresignOptions,
  type PutOptions,
  type StoredObject,
} from './object-storage.ts'
export type { Platform } from './platform.ts'
export {
  InvalidArgumentError,
  MissingLibraryError,
  NotSupportedError,
  ServiceNotRunningError,
  ServiceUnavailableError,
} from './platform-error.ts'
export type {
  DeadLetter,
  Delivery,
  EventHandler,
  PublishOptions,
  PubSub,
  PubSubCapabilities,
  SubscribeOptions,
  Subscription,
  SubscriptionRef,
} from './pub-sub.ts'
export {
  type SecretChange,
  SecretNotFoundError,
  type Secrets,
  type SecretsCapabilities,
  type SecretWatch,
} from './secrets.ts'
export { createSignedObjectHandler, type SignedObjectHandlerOptions, type UrlSigning } from './signed-object-url.ts'
export type { Span, SpanAttributes, SpanKind, SpanOptions, Tracer } from './tracer.ts'
