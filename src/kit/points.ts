/** Points that a device declares itself, where `--inject KIND:POINT` puts faults. */
import type { FaultValue, OwnFaults, OwnPoint } from '../device/own-points.js';
import type { DeviceDefinition, DeviceModel } from './definition.js';

/** A point, which a device passes by `Device.fault`. */
export interface PointDefinition {
  /** What is counted, in a few words: `a descriptor that the ring fetches`. */
  readonly event: string;
  /** What the device then does: `nothing is copied`. */
  readonly fault: string;
  /** What a rule says behind `=`: a number up to 2^32 - 1, or one of these words. */
  readonly takes?: 'number' | readonly string[];
  /** What `--inject-each` puts there: of words each, unless given; numbers must be given. */
  readonly sweep?: readonly (number | string)[];
}

export type PointDefinitions = Readonly<Record<string, PointDefinition>>;

/** What a fault at a point is told by. */
export type FaultOf<Point extends PointDefinition> = PointDefinition extends Point
  ? true | number | string
  : Point extends { readonly takes: 'number' }
    ? number
    : Point extends { readonly takes: readonly (infer Word)[] }
      ? Word
      : true;

/** As the rest of iopf takes them. */
export function pointsOf({ definition }: DeviceModel): OwnPoint[] {
  return Object.entries(definition.points ?? {}).map(
    ([name, { event, fault, sweep, takes = null }]) => ({
      kind: definition.name,
      name,
      event,
      fault,
      takes,
      sweep: takes === null ? [true] : (sweep ?? (takes === 'number' ? [] : takes)),
    }),
  );
}

/** `Device.fault`. `faults` null: there are none. */
export function faultsOf(
  { name, points = {} }: DeviceDefinition,
  faults: OwnFaults | null,
): (point: string) => never {
  const known = new Set(Object.keys(points));
  const pass = (point: string): FaultValue | null => {
    if (!known.has(point)) throw new Error(`the device declares no point '${point}'`);
    return faults === null ? null : faults.passes(name, point);
  };
  return pass as (point: string) => never;
}
