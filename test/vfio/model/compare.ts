/** Runs programs on engine and model and finds where they differ. */
import type { KernelVersion } from '../../../src/abi/kernel.js';
import { READ } from '../../../src/mm/address-space.js';
import { PAGE } from '../../model-process.js';
import { Engine } from './engine.js';
import { MappingModel } from './mapping-model.js';
import { type Call, printProgram } from './program.js';

/** Pages whose translation is looked at after each call. */
const WATCHED = [...Array(64).keys()]
  .map((i) => BigInt(i * 3))
  .concat([0xfedffn, 0xfef00n, 2n ** 36n - 1n]);

/** Runs a program on both; throws with the program, to be pasted, where they differ. */
export function compare(kernel: KernelVersion, program: readonly Call[]): void {
  const engine = new Engine(kernel);
  const model = new MappingModel(kernel);
  program.forEach((call, i) => {
    const wanted = state(model.run(call), model.lockedPages, model.mappings.length, model.bitmap);
    const came = state(
      engine.run(call),
      engine.process.mm.lockedPages,
      mappings(engine, model),
      engine.bitmap,
    );
    const pins = `${engine.memory.pinned}`;
    const translation = differentTranslation(engine, model, kernel);
    if (wanted === came && pins === `${model.lockedPages}` && translation === null) return;
    throw new Error(
      `call ${i} on Linux ${kernel}: expected ${wanted}, came ${came}, pins ${pins}, ${translation ?? ''}\n` +
        `compare('${kernel}', ${printProgram(program.slice(0, i + 1))});`,
    );
  });
  engine.process.exit();
  if (engine.memory.pinned !== 0 || engine.counters.mappedPages !== 0) {
    throw new Error(
      `exit leaves ${engine.memory.pinned} pins\ncompare('${kernel}', ${printProgram(program)});`,
    );
  }
}

function state(
  outcome: { errno: string | null; size: bigint },
  locked: number,
  count: number,
  bitmap: bigint,
): string {
  return `${outcome.errno} size ${outcome.size} locked ${locked} mappings ${count} bitmap ${bitmap.toString(16)}`;
}

/** The engine counts pages; the model's sum says how many mappings that are. */
function mappings(engine: Engine, model: MappingModel): number {
  return engine.counters.mappedPages === model.lockedPages
    ? model.mappings.length
    : -engine.counters.mappedPages;
}

function differentTranslation(
  engine: Engine,
  model: MappingModel,
  kernel: KernelVersion,
): string | null {
  const { domain } = engine.iommu;
  // Behind VT-d of Linux 6.1 and 6.12 what is pinned for writing can be read.
  const implied = kernel === '7.2' ? 0 : READ;
  for (const page of WATCHED) {
    const wanted = model.translate(page * PAGE);
    const frame = domain?.frameAt(Number(page)) ?? -1;
    // A new address of a mapping is for later pins; devices go on with the pages that are pinned.
    if ((wanted === null) !== frame < 0) return `page ${page} frame ${frame}`;
    if (wanted && domain?.permissionAt(Number(page)) !== (wanted.flags | implied))
      return `page ${page} permission`;
  }
  return null;
}
