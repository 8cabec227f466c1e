/** Points of faults on purpose that a device declares itself: rules name them `KIND:POINT`. */

/** What the fault is, where a rule has to say it. */
export type FaultValue = true | number | string;

/** Plain data. */
export interface OwnPoint {
  /** As the device's definition is named. */
  readonly kind: string;
  readonly name: string;
  /** What is counted, and what the fault is, in a few words. */
  readonly event: string;
  readonly fault: string;
  /** What a rule says behind `=`: a number up to 2^32 - 1, one of these words; null: nothing. */
  readonly takes: 'number' | readonly string[] | null;
  /** What `--inject-each` puts there. */
  readonly sweep: readonly FaultValue[];
}

/** How a rule begins: `ring:status=NUMBER`, `ring:short`. */
export function formOf({ kind, name, takes }: OwnPoint): string {
  if (takes === null) return `${kind}:${name}`;
  return `${kind}:${name}=${takes === 'number' ? 'NUMBER' : takes.join('|')}`;
}

/** The faults that a device is to have at its own points. */
export interface OwnFaults {
  /** A device of this kind passes this point. Null: there is no fault. */
  passes(kind: string, point: string): FaultValue | null;
}
