/**
 * Recordings of `iopf exec --record`, read and written: `iopf/recording`.
 *
 * ```ts
 * import { READ, readRecording, WRITE, writeRecording } from 'iopf/recording';
 * writeRecording('two-pages.rec', { program: 'by hand' }, [
 *   { kind: 'map', time: 0, iovaPage: 0x100, pages: 2, vaddrPage: 0x7f000,
 *     permission: READ | WRITE, pinned: false, space: 1 },
 *   { kind: 'access', time: 10, iovaPage: 0x100, count: 2, access: WRITE },
 * ]);
 * const { damage, events, header } = readRecording('two-pages.rec');
 * let pages = 0;
 * for (const event of events()) if (event.kind === 'access') pages += event.count;
 * console.log(header.program, damage ?? 'whole', pages);
 * ```
 *
 * `iopf compare two-pages.rec` replays it, and `iopf/compare` does. The format: docs/recording.md.
 */
export { READ, WRITE } from '../../mm/address-space.js';
export type { RecordedEvent } from '../recording.js';
export type { RecordingEnd, RecordingHeader } from '../recording-format.js';
export { type ReadRecording, readRecording } from './read.js';
export { type RecordingAbout, writeRecording } from './write.js';
