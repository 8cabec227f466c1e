/**
 * Recordings that older versions of iopf wrote; nothing here or elsewhere makes them again. Each
 * has what the run that it was made of counted, as that iopf's own `--json` had it.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

interface OldRecording {
  /** Of test/trace/recordings: the commit that wrote it, and what the program did. */
  readonly name: string;
  /** Events that it has, and those of a kind that the versions before did not know. */
  readonly events: number;
  readonly kinds: readonly string[];
  readonly counted: Readonly<Record<string, number>>;
}

export const oldRecordings: readonly OldRecording[] = [
  {
    // The first commit that recorded: examples/dma-copy, version 1 without events 6 and 7.
    name: '7ed6646-copy',
    events: 202,
    kinds: ['access', 'map', 'unmap'],
    counted: {
      faults: 200,
      invalidations: 0,
      mappedBytesPeak: 201_326_592,
      residentBytesPeak: 819_200,
    },
  },
  {
    // memory-event munmap; what ends an address space was an invalidation then.
    name: '7ed6646-munmap',
    events: 13,
    kinds: ['access', 'invalidate', 'map', 'refused'],
    counted: { faults: 6, invalidations: 2, mappedBytesPeak: 20_480, residentBytesPeak: 12_288 },
  },
  {
    // reclaim-load memfd 1 0.3 with --reclaim 40M --reclaim-scan 50: event 6.
    name: '99bb43c-reclaim',
    events: 162,
    kinds: ['access', 'invalidate', 'map', 'unmap'],
    counted: { faults: 138, invalidations: 18, mappedBytesPeak: 1_048_576 },
  },
  {
    // memory-event 'mprotect none' in a shell: event 7.
    name: '3590c50-exit',
    events: 14,
    kinds: ['access', 'invalidate', 'map', 'refused', 'space-ended', 'unmap'],
    counted: { faults: 6, invalidations: 1, mappedBytesPeak: 20_480, residentBytesPeak: 12_288 },
  },
  {
    // memory-event none with --inject dma:refuse:2, memory:take:3 and call:GET_INFO:50%=EINTR.
    name: 'version-2',
    events: 15,
    kinds: ['access', 'injected', 'map', 'page-lost', 'refused', 'unmap'],
    counted: { faults: 4, invalidations: 0, mappedBytesPeak: 20_480, residentBytesPeak: 16_384 },
  },
];

export function oldRecording(name: string): Buffer {
  const path = join(import.meta.dirname, 'recordings', `${name}.base64`);
  return Buffer.from(readFileSync(path, 'latin1'), 'base64');
}

/** Writes them all to a folder. Returns their paths. */
export function writeOldRecordings(folder: string): string[] {
  return oldRecordings.map(({ name }) => {
    const path = join(folder, `${name}.rec`);
    writeFileSync(path, oldRecording(name));
    return path;
  });
}
