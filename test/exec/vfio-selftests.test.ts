/**
 * The kernel's own VFIO selftests (Linux 7.2) on our devices. What they should give is what they
 * gave on real kernels with QEMU's edu and e1000e: all of type1's passed on 7.2, and on 6.12 all
 * but `overflow`, because a range that wraps was EINVAL before it was EOVERFLOW.
 */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { available } from '../skip.js';
import { runIopf } from './run-iopf.js';

const folder = process.env['IOPF_SELFTESTS'] ?? '';
const canRun = available(
  folder !== '',
  "the kernel's VFIO selftests",
  'IOPF_SELFTESTS names no folder that scripts/vfio-selftests.sh has filled',
);

const devices = ['edu@0000:00:04.0', 'nvme@0000:02:00.0', 'virtio-net@0000:03:00.0'];
/** Variants of huge pages skip where the host has none; iommufd's are not for type1. */
const type1 = /^(ok|not ok) \d+ (\w+\.vfio_type1(?:v2)?_iommu\w*\.\w+)(?: # SKIP.*)?$/gm;

describe.skipIf(!canRun)('the kernel’s VFIO selftests', () => {
  for (const device of devices)
    test.each([
      ['vfio_dma_mapping_mmio_test', '7.2', 6, 0],
      ['vfio_dma_mapping_test', '7.2', 12, 0],
      ['vfio_dma_mapping_test', '6.12', 12, 2],
    ])(`${device}: %s on %s`, async (name, kernel, count, failed) => {
      const address = device.split('@')[1]!;
      const options = ['--kernel', kernel, '--device', device];
      const { stdout, stderr } = await runIopf(options, [join(folder, name), address]);
      const results = [...`${stdout}${stderr}`.matchAll(type1)];
      expect(results.length, stdout).toBe(count);
      const wrong = results.filter(([, result]) => result === 'not ok').map(([, , what]) => what!);
      expect(wrong.every((what) => what.endsWith('.overflow'))).toBe(true);
      expect(wrong).toHaveLength(failed);
    });
});
