import { parseSize, SIZE_EXPECTED } from '../input/size.js';
import type { PageRange } from '../iommu/group.js';
import { PAGE_SIZE } from '../mm/address-space.js';

/**
 * An option of the user's that is not valid: the message says what is wrong and what is allowed.
 */
export class OptionError extends Error {}

/** The key that kinds with registers take. */
export const mmapOption = {
  mmap: 'whole (the default), or sparse: only what is plain memory can be mapped, as KVM needs it',
} as const;

/** Option keys of a device kind, each with its description in the help text. */
export type OptionTable = Readonly<Record<string, string>>;

/** The `key=value` options of one device, checked against what its kind takes. */
export class DeviceOptions {
  /** Throws OptionError for a key that the kind does not take. */
  constructor(
    readonly kind: string,
    table: OptionTable,
    private readonly given: Readonly<Record<string, string>>,
  ) {
    for (const key of Object.keys(given)) {
      if (Object.hasOwn(table, key)) continue;
      const allowed = Object.keys(table);
      throw new OptionError(
        `device ${kind} has no option '${key}'; ` +
          (allowed.length > 0 ? `it takes ${allowed.join(', ')}` : 'it takes none'),
      );
    }
  }

  text(key: string): string | undefined {
    return this.given[key];
  }

  /** Bytes, as `parseSize` reads them. */
  size(key: string, fallback: number): number {
    const given = this.given[key];
    if (given === undefined) return fallback;
    const bytes = parseSize(given);
    if (Number.isNaN(bytes)) this.refuse(key, SIZE_EXPECTED);
    return bytes;
  }

  /** A number, decimal or with 0x. */
  number(key: string, fallback: number): number {
    const given = this.given[key];
    if (given === undefined) return fallback;
    const value = /^(0x[0-9a-f]+|\d+)$/i.test(given) ? Number(given) : Number.NaN;
    if (!Number.isFinite(value)) this.refuse(key, 'a number, like 268435455 or 0xfffffff');
    return value;
  }

  /** One of some words. */
  choice<Word extends string>(key: string, words: readonly Word[], fallback: Word): Word {
    const given = this.given[key];
    if (given === undefined) return fallback;
    const word = words.find((candidate) => candidate === given);
    if (word === undefined) this.refuse(key, `one of ${words.join(', ')}`);
    return word;
  }

  /** `mmap=sparse`. */
  get isSparse(): boolean {
    return this.choice('mmap', ['whole', 'sparse'], 'whole') === 'sparse';
  }

  /**
   * Ranges of addresses in whole pages, `none` or `0x0-0x100000`, several with + between them; null
   * where the key is not given.
   */
  pageRanges(key: string): readonly PageRange[] | null {
    const given = this.given[key];
    if (given === undefined) return null;
    if (given === 'none') return [];
    return given.split('+').map((range) => {
      const match = /^(0x[0-9a-f]+|\d+)-(0x[0-9a-f]+|\d+)$/i.exec(range);
      const first = Number(match?.[1]) / PAGE_SIZE;
      const end = Number(match?.[2]) / PAGE_SIZE;
      if (!(Number.isSafeInteger(first) && Number.isSafeInteger(end) && first < end)) {
        this.refuse(
          key,
          'none, or ranges of addresses in whole pages: 0x0-0x100000+0x200000-0x300000',
        );
      }
      return { first, end };
    });
  }

  refuse(key: string, wanted: string): never {
    throw new OptionError(
      `device ${this.kind}: ${key}=${this.given[key] ?? ''} is not valid; ${key} takes ${wanted}`,
    );
  }
}
