import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { kernelVersions } from '../../../src/abi/kernel.js';
import { compare } from './compare.js';
import { Engine } from './engine.js';
import { MappingModel } from './mapping-model.js';
import { calls, printProgram } from './program.js';

/** All calls of a run of the tests; the nightly run sets 10,000,000. */
const OPERATIONS = Number(process.env['IOPF_MODEL_OPERATIONS'] ?? 200_000);
const CALLS_PER_PROGRAM = 50;
describe('random programs of VFIO calls', () => {
  it.each(kernelVersions)(
    'have the same outcome as on a plain model, on Linux %s',
    (kernel) => {
      fc.assert(
        fc.property(
          fc.array(calls, { minLength: 1, maxLength: CALLS_PER_PROGRAM, size: 'max' }),
          (program) => {
            compare(kernel, program);
          },
        ),
        { numRuns: Math.ceil((OPERATIONS * 2) / CALLS_PER_PROGRAM / kernelVersions.length) },
      );
    },
    3_600_000,
  );

  it('a difference is found, shrunk and printed so that it can be pasted', () => {
    const wrong = fc.check(
      fc.property(
        fc.array(calls, { minLength: 1, maxLength: CALLS_PER_PROGRAM, size: 'max' }),
        (program) => {
          // 6.12 is asked, 7.2 expected: they differ where a range leaves 64 bits.
          const engine = new Engine('6.12');
          const model = new MappingModel('7.2');
          for (const call of program) {
            const wanted = model.run(call);
            const came = engine.run(call);
            if (wanted.errno !== came.errno) throw new Error(printProgram(program));
          }
        },
      ),
      { seed: 1, numRuns: 500 },
    );
    expect(wrong.failed).toBe(true);
    expect(wrong.counterexample?.[0]).toSatisfy(
      (program: readonly unknown[]) => program.length <= 3,
    );
    expect(String(wrong.errorInstance)).toContain('{ op: ');
  });

  it('a range that wraps is told before a log that is off, where the wrap has an errno of its own', () => {
    compare('7.2', [{ op: 'unmapBitmap', iova: 0xffffffffffffd000n, size: 0x4000n, bytes: 0x8n }]);
    compare('7.2', [{ op: 'getBitmap', iova: 0xffffffffffffe000n, size: 0x2001n, bytes: 0x8n }]);
  });
});
