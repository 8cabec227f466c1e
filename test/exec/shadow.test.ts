import { existsSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import {
  containerNode,
  encodeDeviceNumber,
  groupNode,
} from '../../src/exec/machine/device-node.js';
import { ShadowTree } from '../../src/exec/machine/shadow.js';

let tree: ShadowTree;
afterEach(() => tree.remove());

function treeOfDevices(): ShadowTree {
  tree = new ShadowTree();
  tree.device('/dev/vfio/vfio', containerNode);
  tree.device('/dev/vfio/9', groupNode(9));
  tree.file('/sys/kernel/iommu_groups/9/type', 'DMA\n');
  tree.mergeHost(['/dev/vfio', '/sys/kernel/iommu_groups']);
  return tree;
}

describe('which paths the shadow looks at', () => {
  test.each([
    '/dev/vfio/9',
    '/dev//vfio/vfio',
    '/usr/../dev/./vfio',
    '/sys/kernel/iommu_groups/9/../../iommu_groups/9/type',
  ])('%s is ours, and the first look lets it pass', (path) => {
    const shadow = treeOfDevices();
    expect(shadow.resolve(path, true)).not.toBe(null);
    expect(shadow.mayName(path)).toBe(true);
  });

  test.each(['/etc/passwd', '/dev/null', '/usr/lib/libc.so.6'])('%s ends at the first', (path) => {
    const shadow = treeOfDevices();
    expect(shadow.mayName(path)).toBe(false);
    expect(shadow.resolve(path, true)).toBe(null);
  });

  test('a relative path is ours only where it ends in the name of a device', () => {
    const shadow = treeOfDevices();
    expect(
      ['9', 'vfio', '../vfio/9', '10', 'vfio/', 'x9'].map((path) => shadow.mayNameDevice(path)),
    ).toEqual([true, true, true, false, false, false]);
  });

  test('a folder of the host that is not listed stays the host’s', () => {
    expect(existsSync('/sys/kernel')).toBe(true);
    expect(treeOfDevices().resolve('/sys/kernel', true)).toBe(null);
  });
});

test('device numbers of more than 8 bits keep their high bits, as new_encode_dev has them', () => {
  tree = new ShadowTree();
  expect(encodeDeviceNumber(containerNode)).toBe((10 << 8) | 196);
  expect(encodeDeviceNumber(groupNode(9))).toBe((511 << 8) | 9);
  expect(encodeDeviceNumber(groupNode(0x345))).toBe(0x30_0000 | (511 << 8) | 0x45);
});
