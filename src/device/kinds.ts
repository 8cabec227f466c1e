import { ats } from './ats/kind.js';
import { edu } from './edu/kind.js';
import { igb } from './igb/kind.js';
import type { DeviceKind } from './kind.js';
import { nvme } from './nvme/kind.js';
import { recorded } from './recorded/kind.js';
import { vfioUser } from './vfio-user/kind.js';
import { virtioNet } from './virtio-net/kind.js';

export { type RecordedModel, recordedFunction } from './recorded/function.js';
export { type RecordedRegister, registerAccesses } from './recorded/registers.js';

/** Every kind of device that iopf has, by its name. */
export const deviceKinds: ReadonlyMap<string, DeviceKind> = new Map(
  [ats, edu, igb, nvme, recorded, vfioUser, virtioNet].map((kind) => [kind.name, kind]),
);
