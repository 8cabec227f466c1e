import { readNamed } from '../../input/named-file.js';
import { damageOf, eventsOf, parseRecording, type RecordedEvent } from '../recording.js';
import {
  RECORDING_MOST_BYTES,
  type RecordingEnd,
  type RecordingHeader,
} from '../recording-format.js';

export interface ReadRecording {
  readonly header: RecordingHeader;
  /** What the run had counted at its end; null where the recording did not get there. */
  readonly end: RecordingEnd | null;
  /** What is wrong with the file, in a sentence, or null; what stands before it can be read. */
  readonly damage: string | null;
  /**
   * The events, in their order; from the first with each call. Throws an Error where a block makes
   * no sense.
   */
  readonly events: () => Iterable<RecordedEvent>;
}

/** Reads a file, or its bytes. Throws an Error where nothing of it can be used. */
export function readRecording(file: string | Uint8Array): ReadRecording {
  const name = typeof file === 'string' ? file : 'the recording';
  const bytes =
    typeof file === 'string'
      ? readNamed({ what: 'the recording', path: file }, RECORDING_MOST_BYTES)
      : file;
  const recording = parseRecording(bytes, name);
  const { end, header } = recording;
  return { header, end, damage: damageOf(name, recording), events: () => eventsOf(recording) };
}
