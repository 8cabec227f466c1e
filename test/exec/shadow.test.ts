import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import { Bug } from '../../src/abi/bug.js';
import { Errno } from '../../src/abi/errno.js';
import {
  containerNode,
  encodeDeviceNumber,
  groupNode,
} from '../../src/exec/machine/device-node.js';
import { ShadowTree } from '../../src/exec/machine/shadow.js';
import { errnoOf } from '../errno-of.js';

let tree: ShadowTree;
afterEach(() => tree.remove());

function treeOfDevices(): ShadowTree {
  tree = new ShadowTree();
  tree.merged('/dev/vfio');
  tree.merged('/sys/kernel/iommu_groups');
  tree.device('/dev/vfio/vfio', containerNode);
  tree.device('/dev/vfio/9', groupNode(9));
  tree.directory('/sys/kernel/iommu_groups/9');
  tree.file('/sys/kernel/iommu_groups/9/type', 'DMA\n');
  return tree;
}

describe('which paths the shadow looks at', () => {
  test.each([
    '/dev/vfio/9',
    '/dev//vfio/vfio',
    '/usr/../dev/./vfio',
    '/sys/kernel/iommu_groups/9/../../iommu_groups/9/type',
    '//sys/kernel/iommu_groups/9',
  ])('%s is ours, and the first look lets it pass', (path) => {
    const shadow = treeOfDevices();
    expect(shadow.resolve(path, true)).not.toBe(null);
    expect(shadow.mayName(path)).toBe(true);
  });

  test.each([
    '/etc/passwd',
    '/dev/null',
    '/usr/lib/libc.so.6',
    '/usr/include/sys/types.h',
    '/home/a/.config/x',
  ])('%s ends at the first', (path) => {
    const shadow = treeOfDevices();
    expect(shadow.mayName(path)).toBe(false);
    expect(shadow.resolve(path, true)).toBe(null);
  });

  test('a relative path may be ours where it ends in a name of ours, or leads up', () => {
    const shadow = treeOfDevices();
    const yes = ['9', 'vfio', '../vfio/9', 'vfio/', 'iommu_groups/9', '.', './9', '..', '9/../10'];
    const no = ['10', 'x9', 'a/9b', './10', 'a.b', '.git/HEAD', 'vfio.c'];
    expect(yes.filter((path) => !shadow.mayNameFrom(path))).toEqual([]);
    expect(no.filter((path) => shadow.mayNameFrom(path))).toEqual([]);
  });

  test('no path leads on from a node that is no directory', () => {
    const shadow = treeOfDevices();
    for (const path of ['/dev/vfio/9/x', '/dev/vfio/9/..', '/sys/kernel/iommu_groups/9/type/x'])
      expect(errnoOf(() => shadow.resolve(path, true))).toBe(Errno.ENOTDIR);
  });

  test('a folder of the host that leads to ours stays the host’s', () => {
    expect(existsSync('/sys/kernel')).toBe(true);
    expect(treeOfDevices().resolve('/sys/kernel', true)).toBe(null);
  });

  test('a path that the first look would not let pass cannot be added', () => {
    tree = new ShadowTree();
    expect(() => tree.directory('/etc/iopf')).toThrow(Bug);
  });
});

describe('what stands for a node', () => {
  test('is made when it is asked for, and not before', () => {
    const shadow = treeOfDevices();
    expect(readdirSync(shadow.root)).toEqual([]);
    const type = shadow.host('/sys/kernel/iommu_groups/9/type');
    expect(readFileSync(type, 'latin1')).toBe('DMA\n');
    expect(existsSync(`${shadow.root}/dev/vfio/9`)).toBe(false);
  });

  test('of a merged directory has the host’s entries, by type and with their targets', () => {
    tree = new ShadowTree();
    tree.merged('/sys/class');
    tree.directory('/sys/class/iopf-test');
    const listed = readdirSync(tree.host('/sys/class'), { withFileTypes: true });
    const host = readdirSync('/sys/class', { withFileTypes: true });
    const names = [...host.map(({ name }) => name), 'iopf-test'].sort();
    expect(listed.map(({ name }) => name).sort()).toEqual(names);
    expect(listed.every((entry) => entry.isDirectory())).toBe(true);
    expect(tree.mayNameFrom('net')).toBe(host.some(({ name }) => name === 'net'));
  });

  test('has its links relative, as sysfs does', () => {
    const shadow = treeOfDevices();
    shadow.link('/sys/kernel/iommu_groups/9/devices/d', '/sys/devices/pci0000:02/d');
    const place = shadow.host('/sys/kernel/iommu_groups/9/devices/d');
    expect(readlinkSync(place)).toBe('../../../../devices/pci0000:02/d');
  });

  test('holds what a live file holds at that moment', () => {
    tree = new ShadowTree();
    let value = 1;
    tree.file('/sys/module/iopf_test/refcnt', () => `${value}\n`);
    expect(readFileSync(tree.host('/sys/module/iopf_test/refcnt'), 'latin1')).toBe('1\n');
    value = 2;
    expect(readFileSync(tree.host('/sys/module/iopf_test/refcnt'), 'latin1')).toBe('2\n');
  });

  test('of a directory has as many links as directories lie in it', () => {
    tree = new ShadowTree();
    tree.directory('/sys/module/iopf_test');
    tree.directory('/sys/module/iopf_test/holders');
    tree.directory('/sys/module/iopf_test/parameters');
    expect(statSync(tree.host('/sys/module/iopf_test')).nlink).toBe(4);
  });
});

describe('ways out of the shadow', () => {
  test('the kernel cannot go up from a directory that the host lacks', () => {
    tree = new ShadowTree();
    tree.directory('/sys/module/iopf_test');
    expect(tree.resolve('/sys/module/iopf_test/../kernel', true)).toEqual({
      path: '/sys/module/kernel',
      node: { kind: 'outside' },
    });
    expect(tree.resolve('/sys/module/../kernel', true)).toBe(null);
  });

  test('a link in last place is followed if a slash or a dot follows it', () => {
    const shadow = treeOfDevices();
    shadow.link('/sys/class/iopf', '/sys/kernel/iommu_groups/9');
    const resolve = (path: string) => shadow.resolve(path, false)?.path;
    expect(resolve('/sys/class/iopf')).toBe('/sys/class/iopf');
    expect(resolve('/sys/class/iopf/')).toBe('/sys/kernel/iommu_groups/9');
    expect(resolve('/sys/class/iopf/.')).toBe('/sys/kernel/iommu_groups/9');
    expect(resolve('/sys/class/iopf/type')).toBe('/sys/kernel/iommu_groups/9/type');
  });
});

test('device numbers of more than 8 bits keep their high bits, as new_encode_dev has them', () => {
  tree = new ShadowTree();
  expect(encodeDeviceNumber(containerNode)).toBe((10 << 8) | 196);
  expect(encodeDeviceNumber(groupNode(9))).toBe((511 << 8) | 9);
  expect(encodeDeviceNumber(groupNode(0x345))).toBe(0x30_0000 | (511 << 8) | 0x45);
});
