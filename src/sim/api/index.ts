/**
 * What `iopf compare` does, for programs: `iopf/compare`.
 *
 * ```ts
 * import { compare, type Scenario } from 'iopf/compare';
 * const scenario: Scenario = {
 *   model: 'fast',
 *   workload: {
 *     kind: 'block', memory: '64M', buffers: '16M', pattern: 'random', ioBytes: '4K', ios: 2000,
 *     latency: '20us', bandwidth: '3G',
 *   },
 * };
 * const { runs } = await compare({
 *   inputs: [{ name: 'small disk', scenario }],
 *   policies: ['static', 'iopf:premap=8'],
 * });
 * for (const { policy, pinnedBytesPeak, slowdownPercent } of runs)
 *   console.log(policy, pinnedBytesPeak, slowdownPercent);
 * ```
 *
 * The same inputs and seed give the same results, whatever `jobs`. docs/compare.md says what the
 * fields mean, docs/scenarios.md every key of a scenario, docs/models.md what a model is.
 */
export type { PublishedComparison } from '../compare.js';
export type { OvercommitRow } from '../overcommit.js';
export type { RunRow } from '../run.js';
export {
  type CompareOptions,
  type Comparison,
  compare,
  type Model,
  type NamedScenario,
  type Scenario,
} from './compare.js';
