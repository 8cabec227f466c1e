/** Programs of calls on I/O address spaces as data: generated, run on engine and model, shrunk. */
import fc from 'fast-check';
import { MEMORY, PAGE } from '../../model-process.js';

export type Call =
  | { readonly op: 'alloc' }
  | { readonly op: 'destroy'; readonly id: number }
  | {
      readonly op: 'map';
      readonly id: number;
      readonly address: bigint;
      readonly length: bigint;
      /** Null: the kernel chooses. */
      readonly iova: bigint | null;
      readonly permission: number;
    }
  | { readonly op: 'unmap'; readonly id: number; readonly iova: bigint; readonly length: bigint }
  | {
      readonly op: 'copy';
      readonly from: number;
      readonly to: number;
      readonly source: bigint;
      readonly length: bigint;
      readonly iova: bigint | null;
      readonly permission: number;
    }
  | { readonly op: 'attach'; readonly id: number }
  | { readonly op: 'detach' }
  | { readonly op: 'hugePages'; readonly id: number; readonly on: boolean }
  | { readonly op: 'allow'; readonly id: number; readonly first: bigint; readonly pages: bigint };

/** What a call answers: an errno's name, or what it reports (an id, an IOVA, a length). */
export interface Outcome {
  readonly errno: string | null;
  readonly value: bigint;
}

/** Ids are few, and the first is the device's. */
const id = fc.integer({ min: 1, max: 6 });

/** Mostly pages, as with a page table nothing else goes. */
const offset = fc.oneof(
  { weight: 8, arbitrary: fc.constant(0n) },
  { weight: 1, arbitrary: fc.constantFrom(0x10n, 0x800n, 0xfffn) },
);
const page = fc.oneof(
  { weight: 12, arbitrary: fc.bigInt({ min: 0n, max: 60n }) },
  { weight: 1, arbitrary: fc.bigInt({ min: 0xfedfcn, max: 0xfef04n }) },
  { weight: 1, arbitrary: fc.bigInt({ min: 2n ** 36n - 4n, max: 2n ** 36n + 2n }) },
  { weight: 1, arbitrary: fc.bigInt({ min: 2n ** 52n - 12n, max: 2n ** 52n - 1n }) },
);
const iova = fc.tuple(page, offset).map(([at, bytes]) => at * PAGE + bytes);
const length = fc
  .tuple(fc.bigInt({ min: 0n, max: 12n }), offset)
  .map(([pages, bytes]) => pages * PAGE + bytes);
const address = fc
  .tuple(fc.bigInt({ min: -1n, max: 25n }), offset)
  .map(([at, bytes]) => MEMORY.base + at * PAGE + bytes);
const place = fc.option(iova, { freq: 2 });
const permission = fc.integer({ min: 0, max: 3 });

export const calls: fc.Arbitrary<Call> = fc.oneof(
  { weight: 2, arbitrary: fc.constant({ op: 'alloc' } as const) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('destroy' as const), id }) },
  {
    weight: 8,
    arbitrary: fc.record({
      op: fc.constant('map' as const),
      id,
      address,
      length,
      iova: place,
      permission,
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      op: fc.constant('unmap' as const),
      id,
      iova,
      length: fc.oneof(length, fc.constantFrom(2n ** 64n - 1n, 64n * PAGE)),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constant('copy' as const),
      from: id,
      to: id,
      source: iova,
      length,
      iova: place,
      permission,
    }),
  },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('attach' as const), id }) },
  { weight: 1, arbitrary: fc.constant({ op: 'detach' } as const) },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constant('hugePages' as const), id, on: fc.boolean() }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant('allow' as const),
      id,
      first: iova,
      pages: fc.bigInt({ min: 0n, max: 40n }),
    }),
  },
);

/** A program so that it can be pasted into a test. */
export function printProgram(program: readonly Call[]): string {
  const text = (value: unknown): string =>
    typeof value === 'bigint' ? `0x${value.toString(16)}n` : JSON.stringify(value);
  const call = (each: Call): string =>
    `{ ${Object.entries(each)
      .map(([key, value]) => `${key}: ${text(value)}`)
      .join(', ')} }`;
  return `[${program.map(call).join(', ')}]`;
}
