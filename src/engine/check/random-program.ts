/** A random program on an address space, beside a plain model of its pages. */
import type { Random } from '../../abi/random.js';
import { READ, WRITE } from '../../mm/address-space.js';
import { FIRST, Listener, must, PAGES, RW, type SpaceBench } from './space-bench.js';

const STEPS = 1000;

/** A page: what it may be accessed for, and the byte that it is full of. */
interface ModelPage {
  access: number;
  byte: number;
}

export function randomProgram(bench: SpaceBench, random: Random): void {
  const { host, space } = bench;
  const pages: ModelPage[] = Array.from({ length: PAGES }, () => ({ access: 0, byte: 0 }));
  /** Frames that somebody has, by page: until it is told. */
  const held = new Map<number, number>();
  const listener = new Listener(space);
  const forget = (): void => {
    for (const { count, first } of listener.told.splice(0))
      for (const page of [...held.keys()])
        if (page >= first && page < first + count) held.delete(page);
  };
  for (let step = 0; step < STEPS; step++) {
    const first = random.below(PAGES);
    const count = 1 + random.below(PAGES - first);
    const range = pages.slice(first, first + count);
    const at = FIRST + first;
    const page = pages[first]!;
    switch (random.below(8)) {
      case 0: {
        const access = [READ, RW, RW][random.below(3)]!;
        host.mmap(at, count, access);
        for (const each of range) Object.assign(each, { access, byte: 0 });
        break;
      }
      case 1:
        if (count > PAGES / 2) break;
        host.munmap(at, count);
        for (const each of range) Object.assign(each, { access: 0, byte: 0 });
        break;
      case 2:
        if (range.some(({ access }) => access === 0)) break;
        host.discard(at, count);
        for (const each of range) each.byte = 0;
        break;
      case 3: {
        if (range.some(({ access }) => access === 0)) break;
        const access = [READ, RW][random.below(2)]!;
        host.protect(at, count, access);
        for (const each of range) each.access = access;
        break;
      }
      case 4: {
        const byte = random.below(256);
        const isWritten = bench.write(at, byte);
        must(
          isWritten === ((page.access & WRITE) !== 0),
          `step ${step}: copyTo answers ${isWritten}`,
        );
        if (isWritten) page.byte = byte;
        break;
      }
      case 5: {
        const expected = page.access === 0 ? -1 : page.byte;
        const found = bench.read(at);
        must(found === expected, `step ${step}: a page reads as ${found}, not ${expected}`);
        break;
      }
      default: {
        const access = [READ, WRITE][random.below(2)]!;
        const wanted = range.findIndex((each) => (each.access & access) === 0);
        const got = bench.pageIn(at, count, access);
        const most = wanted < 0 ? count : wanted;
        must(
          got <= most && (got > 0 || most === 0),
          `step ${step}: pageIn brings in ${got} of ${most} pages`,
        );
        forget();
        for (let index = 0; index < got; index++) {
          const frame = bench.frames[index]!;
          const had = held.get(at + index);
          must(
            had === undefined || had === frame,
            `step ${step}: a page has another frame, and nobody was told`,
          );
          held.set(at + index, frame);
        }
      }
    }
    forget();
  }
}
