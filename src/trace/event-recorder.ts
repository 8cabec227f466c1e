/** A recording of events that are known beforehand: what an import makes. */
import { Counters } from '../iommu/observer.js';
import { Recorder } from './recorder.js';
import type { RecordedEvent } from './recording.js';
import type { RecordingHeader } from './recording-format.js';

const DEVICE = { address: '0000:00:00.0' };

/** Writes a whole file. Returns what is missing of it, in a sentence, or null. Throws UserError. */
export function recordEvents(
  path: string,
  header: Omit<RecordingHeader, 'version'>,
  events: Iterable<RecordedEvent>,
): string | null {
  let nowUs = 0;
  const counters = new Counters();
  const recorder = new Recorder(path, header, counters, () => nowUs);
  try {
    for (const event of events) {
      nowUs = event.time;
      switch (event.kind) {
        case 'access':
          for (let i = 0; i < event.count; i++)
            recorder.accessed(event.iovaPage + i, event.access, false);
          break;
        case 'refused':
          recorder.accessed(event.iovaPage, event.access, true);
          break;
        case 'map':
          recorder.mappingAdded({ ...event, pinnedByFlag: event.pinned, mm: { id: event.space } });
          break;
        case 'unmap':
          recorder.mappingRemoved({ ...event, ...UNMAPPED });
          break;
        case 'invalidate':
          counters.invalidations++;
          recorder.invalidate(event.space, event.first, event.count, 0, event.reclaimed);
          break;
        case 'space-ended':
          recorder.spaceEnded(event.space);
          break;
        case 'page-lost':
          recorder.pageLost(DEVICE, event.iovaPage);
          break;
        case 'injected':
          recorder.faultMade(event.rule);
      }
    }
  } catch (error) {
    recorder.discard();
    throw error;
  }
  return recorder.close();
}

/** What a removal does not record of its mapping. */
const UNMAPPED = { vaddrPage: 0, permission: 0, pinnedByFlag: false, mm: { id: 0 } } as const;
