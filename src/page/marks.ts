/** Moments of a run that are marked in its drawings and in its log. */
import type { LiveSample } from '../live/live.js';
import { hex, PAGE_BYTES } from './format.js';

export interface Mark {
  readonly kind: 'refused' | 'reset' | 'unbind' | 'injected';
  readonly seconds: number;
  /** Where; null: all of the device. */
  readonly page: number | null;
  /** What happened, in a line. */
  readonly text: string;
}

/** Strokes and gaps of a mark's line. */
export const MARK_DASH = [2, 2];

const words = {
  reset: 'was reset',
  unbind: 'is taken from VFIO (unbind)',
  injected: 'made a fault on purpose',
} as const;

/** Whether these are the same marks of one run: new ones come last. */
export function isSame(marks: readonly Mark[], others: readonly Mark[]): boolean {
  const [last, other] = [marks.at(-1), others.at(-1)];
  return marks.length === others.length && last?.seconds === other?.seconds;
}

/** By time; a fault on purpose before what it refused. */
export function marksOf({ events, incidents }: LiveSample): Mark[] {
  const refused = incidents.refused.map((each): Mark => {
    const { access, asker, device, firstAtSeconds, iova, kind, reason } = each;
    const by = asker === null ? '' : `, asked by ${asker}`;
    const what = `${access === 'read' ? 'read' : 'wrote'} ${hex(Number(iova))}`;
    return {
      kind: 'refused',
      seconds: Number(firstAtSeconds),
      page: Math.floor(Number(iova) / PAGE_BYTES),
      text: `refused: ${kind} ${device} ${what} (${reason})${by}`,
    };
  });
  const others = events.map(
    ({ device, kind, seconds }): Mark => ({
      kind,
      seconds,
      page: null,
      text: `${kind}: ${device} ${words[kind]}`,
    }),
  );
  return [...others, ...refused].sort((a, b) => a.seconds - b.seconds);
}

/** Marks that are near a moment, `within` seconds. */
export function near(marks: readonly Mark[], seconds: number, within: number): Mark[] {
  return marks.filter((mark) => Math.abs(mark.seconds - seconds) <= within);
}
