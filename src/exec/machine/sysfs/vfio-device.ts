/** The vfio device of a function, and its own node where the kernel has those (Linux 6.6). */
import { cdevNode } from '../device-node.js';
import type { ShadowTree } from '../shadow.js';
import { addPower } from './power.js';

export interface VfioDevicePlace {
  /** The function's directory. */
  readonly path: string;
  readonly address: string;
  /** N of vfioN. */
  readonly number: number;
  /** Without, it is as where CONFIG_VFIO_DEVICE_CDEV is off. */
  readonly hasNode: boolean;
}

export function addVfioDevice(
  tree: ShadowTree,
  { path, address, number, hasNode }: VfioDevicePlace,
): void {
  const name = `vfio${number}`;
  const device = `${path}/vfio-dev/${name}`;
  tree.directory(`${path}/vfio-dev`);
  tree.directory(device);
  addPower(tree, device, 'unsupported');
  tree.link(`${device}/device`, path);
  tree.link(`${device}/subsystem`, '/sys/class/vfio-dev');
  tree.link(`/sys/class/vfio-dev/${name}`, device);
  if (!hasNode) {
    tree.file(`${device}/uevent`, '', 0o644);
    return;
  }
  const node = cdevNode(address, number);
  const { major, minor } = node;
  tree.device(`/dev/vfio/devices/${name}`, node);
  tree.file(`${device}/dev`, `${major}:${minor}\n`);
  const uevent = `MAJOR=${major}\nMINOR=${minor}\nDEVNAME=vfio/devices/${name}\n`;
  tree.file(`${device}/uevent`, uevent, 0o644);
  tree.link(`/sys/dev/char/${major}:${minor}`, device);
}
