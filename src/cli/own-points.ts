/** Points for faults on purpose that devices of the user's own declare. */
import { deviceKinds } from '../device/kinds.js';
import type { OwnPoint } from '../device/own-points.js';
import type { MachineSpec } from '../exec/machine/machine-spec.js';
import { findModules } from '../exec/module/find.js';
import { loadModel } from '../exec/module/load.js';
import { points } from '../inject/points.js';
import { UserError } from '../input/user-error.js';
import { pointsOf } from '../kit/points.js';

/** Loads the machine's modules. Throws UserError. */
export async function ownPointsOf({ groups }: MachineSpec): Promise<OwnPoint[]> {
  const devices = groups.flatMap((group) => group.devices);
  const others = devices.filter(({ kind }) => !deviceKinds.has(kind));
  const found: OwnPoint[] = [];
  for (const module of await findModules(others)) {
    for (const point of pointsOf(await loadModel(module))) {
      if (taken.has(point.kind))
        throw new UserError(
          `${module.kind}: device ${point.kind} declares points, and ${point.kind}: begins those ` +
            'of iopf; give the device another name',
        );
      found.push(point);
    }
  }
  return found;
}

/** What rules of iopf's own points begin with. */
const taken: ReadonlySet<string> = new Set(Object.keys(points).map((name) => name.split(':')[0]!));
