/**
 * Programs of VFIO calls as data: what is generated, run on engine and model, shrunk and printed.
 */
import fc from 'fast-check';
import { MEMORY, PAGE } from '../../model-process.js';

/** Addresses and sizes in bytes, so that wrong ones can be said. */
export type Call =
  | {
      readonly op: 'map';
      readonly iova: bigint;
      readonly size: bigint;
      readonly vaddr: bigint;
      readonly flags: number;
    }
  | { readonly op: 'unmap'; readonly iova: bigint; readonly size: bigint; readonly flags: number }
  | {
      readonly op: 'unmapBitmap';
      readonly iova: bigint;
      readonly size: bigint;
      readonly bytes: bigint;
    }
  | { readonly op: 'dirty'; readonly flags: number }
  | {
      readonly op: 'getBitmap';
      readonly iova: bigint;
      readonly size: bigint;
      readonly bytes: bigint;
    }
  | { readonly op: 'fillBitmap'; readonly byte: number }
  | { readonly op: 'available' }
  | { readonly op: 'unsetContainer' }
  | { readonly op: 'setContainer' }
  | { readonly op: 'setIommu'; readonly type: number };

/** What a call answers: an errno's name, or the size that it reports (0 where it reports none). */
export interface Outcome {
  readonly errno: string | null;
  readonly size: bigint;
}

export const BITMAP = { base: 0x3000_0000n, bytes: 256 } as const;
export const ENTRY_LIMIT = 6;

/** A page of IOVA: mostly few, so that ranges meet; else near the edges of what can be mapped. */
const iovaPage = fc.oneof(
  { weight: 12, arbitrary: fc.bigInt({ min: 0n, max: 140n }) },
  { weight: 1, arbitrary: fc.bigInt({ min: 0xfedfcn, max: 0xfef04n }) },
  { weight: 1, arbitrary: fc.bigInt({ min: 2n ** 36n - 4n, max: 2n ** 36n + 2n }) },
  { weight: 1, arbitrary: fc.bigInt({ min: 2n ** 52n - 3n, max: 2n ** 52n - 1n }) },
);
const pages = fc.oneof(
  { weight: 12, arbitrary: fc.bigInt({ min: 1n, max: 12n }) },
  { weight: 3, arbitrary: fc.bigInt({ min: 13n, max: 150n }) },
  { weight: 1, arbitrary: fc.constantFrom(0n, 2n ** 36n, 2n ** 52n - 1n) },
);
/** Bytes beside a page boundary, seldom. */
const odd = fc.oneof(
  { weight: 24, arbitrary: fc.constant(0n) },
  { weight: 1, arbitrary: fc.constantFrom(1n, 0x800n, 4095n) },
);
const address = (page: fc.Arbitrary<bigint>) =>
  fc.tuple(page, odd).map(([n, extra]) => n * PAGE + extra);
const vaddr = fc
  .tuple(fc.bigInt({ min: 0n, max: BigInt(MEMORY.pages) + 1n }), odd)
  .map(([page, extra]) => MEMORY.base + page * PAGE + extra);
const bitmapBytes = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(8n, 16n, 24n, 32n) },
  { weight: 1, arbitrary: fc.constantFrom(0n, 7n, 2n ** 28n + 1n) },
);

const iova = address(iovaPage);
const size = address(pages);

export const calls: fc.Arbitrary<Call> = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      op: fc.constant('map' as const),
      iova,
      size,
      vaddr,
      flags: fc.constantFrom(3, 3, 3, 1, 2, 4, 4, 0, 5, 16),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constant('unmap' as const),
      iova,
      size,
      flags: fc.constantFrom(0, 0, 0, 4, 4, 2, 6, 8),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Call>(
      { op: 'unmap', iova: 0n, size: 0n, flags: 2 },
      { op: 'unmap', iova: 0n, size: 0n, flags: 6 },
    ),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant('unmapBitmap' as const),
      iova,
      size,
      bytes: bitmapBytes,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant('dirty' as const),
      flags: fc.constantFrom(1, 1, 1, 2, 0, 3, 8),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ op: fc.constant('getBitmap' as const), iova, size, bytes: bitmapBytes }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant('fillBitmap' as const),
      byte: fc.constantFrom(0, 0, 0x55, 0xff),
    }),
  },
  { weight: 1, arbitrary: fc.constant<Call>({ op: 'available' }) },
  { weight: 1, arbitrary: fc.constantFrom<Call>({ op: 'unsetContainer' }, { op: 'setContainer' }) },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant('setIommu' as const),
      type: fc.constantFrom(3, 3, 1, 6, 9),
    }),
  },
);

/** A program as TypeScript, to be pasted into a test. */
export function printProgram(program: readonly Call[]): string {
  const lines = program.map((call) => {
    const fields = Object.entries(call).map(([key, value]) => `${key}: ${printValue(value)}`);
    return `  { ${fields.join(', ')} },`;
  });
  return `[\n${lines.join('\n')}\n]`;
}

function printValue(value: unknown): string {
  return typeof value === 'bigint'
    ? `0x${value.toString(16)}n`
    : JSON.stringify(value).replaceAll('"', "'");
}
