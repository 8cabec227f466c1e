import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PAGE } from '../../model-process.js';
import { Engine } from './engine.js';
import { IoasModel } from './ioas-model.js';
import { type Call, calls, printProgram } from './program.js';

/** All calls of a run of the tests; `npm run test:model` sets 10,000,000. */
const OPERATIONS = Number(process.env['IOPF_MODEL_OPERATIONS'] ?? 6_000);
const CALLS_PER_PROGRAM = 50;
/** Pages whose translation is looked at after each call. */
const WATCHED = [...Array(24).keys()]
  .map((index) => BigInt(index * 3))
  .concat([0xfedffn, 0xfef00n, 2n ** 36n - 1n]);
const programs = fc.array(calls, { minLength: 1, maxLength: CALLS_PER_PROGRAM, size: 'max' });

/** Runs a program on both; throws with the program, to be pasted, where they differ. */
function compare(program: readonly Call[], model = new IoasModel()): void {
  const engine = new Engine();
  program.forEach((call, index) => {
    const wanted = model.run(call);
    const came = engine.run(call);
    const text = ({ errno, value }: typeof wanted): string => errno ?? `0x${value.toString(16)}`;
    const seen = `${text(came)}, ${engine.memory.pinned} pins`;
    const differs = differentTranslation(engine, model);
    if (`${text(wanted)}, ${model.pins} pins` === seen && differs === null) return;
    throw new Error(
      `call ${index}: expected ${text(wanted)}, ${model.pins} pins, came ${seen}; ${differs ?? ''}\n` +
        `compare(${printProgram(program.slice(0, index + 1))});`,
    );
  });
  engine.process.exit();
  const { pinnedPages, mappedPages } = engine.counters;
  if (engine.memory.pinned + pinnedPages + mappedPages !== 0)
    throw new Error(`exit leaves pins or maps\ncompare(${printProgram(program)});`);
}

function differentTranslation(engine: Engine, model: IoasModel): string | null {
  const { domain } = engine.iommu;
  for (const page of WATCHED) {
    const wanted = model.translate(page * PAGE);
    const permission = domain?.permissionAt(Number(page)) ?? 0;
    if (permission !== (wanted?.permission ?? 0)) return `page ${page} permission ${permission}`;
    if (wanted === null) continue;
    const frame = new Float64Array(1);
    engine.process.mm.pageIn(Number(wanted.address / PAGE), 1, 1, frame);
    if (domain!.frameAt(Number(page)) !== frame[0]) return `page ${page} leads elsewhere`;
  }
  return null;
}

describe('random programs on I/O address spaces', () => {
  it('have the same outcome as on a plain model, with the same pins and translations', () => {
    const numRuns = Math.ceil((OPERATIONS * 2) / CALLS_PER_PROGRAM);
    fc.assert(
      fc.property(programs, (program) => compare(program)),
      { numRuns },
    );
  }, 7_200_000);

  it('a model that pins what no device reaches is found out', () => {
    class Eager extends IoasModel {
      override get pins(): number {
        return this.mappedPages;
      }
    }
    const property = fc.property(programs, (program) => compare(program, new Eager()));
    const found = fc.check(property, { seed: 1, numRuns: 100, endOnFailure: true });
    expect(found.failed).toBe(true);
    expect(String(found.errorInstance)).toContain('op: "map"');
  });
});
