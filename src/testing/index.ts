/** The user's test kit: a simulated cluster, the platform's twins, and the suites that an adapter must pass. */
export {
  type SimulatedCluster,
  type SimulatedClusterOptions,
  startSimulatedCluster,
} from '../kubernetes/simulated/simulated-cluster.ts'
export { createTestPlatform } from '../platform/create-test-platform.ts'
export {
  type CacheSubject,
  cacheConformance,
  type ConfigSubject,
  configConformance,
  conformanceConfig,
  type ConformanceCase,
  conformanceSecrets,
  type ConformanceSuite,
  type DbSubject,
  dbConformance,
  type FeatureFlagsSubject,
  featureFlagsConformance,
  idempotentConsumerConformance,
  type LoggerSubject,
  loggerConformance,
  type ObjectStorageSubject,
  objectStorageConformance,
  type PubSubSubject,
  pubSubConformance,
  type SecretsSubject,
  secretsConformance,
  type TracerSubject,
  tracerConformance,
} from './platform-conformance.ts'
