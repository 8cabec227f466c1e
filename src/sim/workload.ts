import type { Random } from '../abi/random.js';
import type { TimedProgram } from './timed-program.js';

/**
 * What a program and its device do, a request at a time: it yields where another guest of the same
 * host may come in between. It makes its mappings first and then calls `begin`.
 */
export type Workload = (guest: TimedProgram, random: Random) => Generator<void, void, void>;
