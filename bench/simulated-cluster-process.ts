/** A simulated cluster in a process of its own, so that its memory is not counted as the worker's. Says where it is. */
import { startSimulatedCluster } from '../src/kubernetes/simulated/simulated-cluster.ts'

const cluster = await startSimulatedCluster({ controllers: { enabled: false } })
process.send?.(cluster.kubeconfig())
process.on('disconnect', () => void cluster.stop().then(() => process.exit(0)))
