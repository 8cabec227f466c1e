import { Errno } from '../../../abi/errno.js';
import type { ShadowTree } from '../shadow.js';
import { ATTRIBUTE_BYTES } from '../shadow-node.js';

/**
 * The `power` group of a device (Documentation/ABI/testing/sysfs-devices-power), as a kernel
 * without CONFIG_PM_ADVANCED_DEBUG has it. `suspended`: by runtime power management, as vfio-pci
 * leaves devices that nobody has opened; `unsupported`: it has none.
 */
export function addPower(
  tree: ShadowTree,
  device: string,
  status: 'suspended' | 'unsupported',
): void {
  const path = `${device}/power`;
  tree.directory(path);
  // Without autosuspend a read answers EIO; here the open does.
  tree.binary(`${path}/autosuspend_delay_ms`, ATTRIBUTE_BYTES, Errno.EIO, 0o644);
  tree.file(`${path}/control`, 'auto\n', 0o644);
  tree.file(`${path}/runtime_active_time`, '0\n');
  tree.file(`${path}/runtime_status`, `${status}\n`);
  tree.file(`${path}/runtime_suspended_time`, '0\n');
}
