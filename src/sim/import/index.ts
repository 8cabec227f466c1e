/** Files of other tools as recordings: which kind a file is, and what is made of it. */
import { UserError } from '../../input/user-error.js';
import { blkparseText, fioLog, msrCambridge } from './block-traces.js';
import { chromeJson, kernelText } from './engine-traces.js';
import type { Imported } from './imported.js';
import { accessTable, memoryTable, tableKind } from './tables.js';
import { SourceText } from './text.js';

export const importKinds = [
  'csv',
  'memory-curve',
  'fio',
  'blkparse',
  'msr',
  'kernel',
  'chrome',
] as const;
export type ImportKind = (typeof importKinds)[number];

/** Page cache of block traces where nothing else is asked for. */
export const CACHE_BYTES = 2 ** 30;
/** What can be imported at once. */
export const SOURCE_MOST_BYTES = 2 ** 29 - 1;

const importers: Readonly<
  Record<ImportKind, (source: SourceText, cacheBytes: number) => Imported>
> = {
  csv: accessTable,
  'memory-curve': memoryTable,
  fio: fioLog,
  blkparse: blkparseText,
  msr: msrCambridge,
  kernel: kernelText,
  chrome: chromeJson,
};

/** `kind`: null where the file tells. Throws UserError with the line of what is wrong. */
export function importText(
  text: string,
  name: string,
  kind: ImportKind | null = null,
  cacheBytes = CACHE_BYTES,
): Imported {
  const source = new SourceText(name, text);
  if (source.lines.length === 0)
    throw new UserError(`${name} is empty: there is nothing to import`);
  const found = kind ?? kindOf(source);
  if (found === null)
    throw new UserError(
      `${name}: what kind of file it is cannot be told; --from says it: ${importKinds.join(', ')}`,
    );
  const imported = importers[found](source, cacheBytes);
  if (!imported.events.some((event) => event.kind === 'access'))
    throw new UserError(`${name}: no device reaches memory in it: there is nothing to replay`);
  return imported;
}

function kindOf({ lines }: SourceText): ImportKind | null {
  const first = lines[0]!.text;
  if (/^fio version \d+ iolog/.test(first)) return 'fio';
  if (/^\s*(\[|\{.*"ph")/.test(first)) return 'chrome';
  if (/^\d{10,},[^,]*,\d+,\w+,\d+,\d+,\d+\s*$/.test(first)) return 'msr';
  const table = tableKind(first);
  if (table !== null) return table === 'memory' ? 'memory-curve' : 'csv';
  if (/^\s*\d+,\d+\s+\d+\s+\d+\s+\d+\.\d+\s/.test(first)) return 'blkparse';
  const isKernel = lines
    .slice(0, 40)
    .some(({ text }) => /\s\d+\.\d+: (?:iommu:)?(map|unmap|dev_fault):\s/.test(text));
  return isKernel ? 'kernel' : null;
}
