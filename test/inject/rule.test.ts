import { describe, expect, it } from 'vitest';
import { Errno } from '../../src/abi/errno.js';
import { ContainerIoctl, DeviceIoctl, Type1Ioctl } from '../../src/abi/vfio.js';
import { CommandFault } from '../../src/device/faults.js';
import type { OwnPoint } from '../../src/device/own-points.js';
import { points } from '../../src/inject/points.js';
import { parseRule } from '../../src/inject/rule.js';
import { parseRuleFile } from '../../src/inject/rule-file.js';
import { PageResponse } from '../../src/iommu/page-request.js';

const own: OwnPoint[] = (
  [
    ['short', null],
    ['status', 'number'],
    ['side', ['left', 'right']],
  ] as const
).map(([name, takes]) => ({
  ...{ kind: 'ring', name, event: '', fault: '', takes },
  sweep: takes === null ? [true] : takes === 'number' ? [] : takes,
}));
const forever = Number.POSITIVE_INFINITY;

describe('a rule', () => {
  it.each([
    ['call:MAP_DMA:2=ENOMEM', { point: 'call', when: { first: 2, last: 2 }, what: Errno.ENOMEM }],
    ['call:EINTR=1%', { requests: null, when: { first: 1, chance: 0.01 }, what: Errno.EINTR }],
    ['call:*:1%=EINTR', { requests: null, when: { first: 1, chance: 0.01 }, what: Errno.EINTR }],
    ['dma:refuse@iova=0x120000', { iova: { start: 0x120000, end: 0x120001 }, access: 3 }],
    ['dma:refuse:3+@iova=0-64K,access=write', { iova: { start: 0, end: 65536 }, access: 2 }],
    ['memory:take@access=7', { point: 'memory:take', when: { first: 7, last: 7 } }],
    ['memory:take:/5', { when: { first: 5, last: forever, every: 5, chance: 1 } }],
    ['iommu:request:1=FAILURE', { what: PageResponse.FAILURE }],
    ['iommu:request=FULL', { what: -1 }],
    ['iommu:request=PARTIAL', { what: -2 }],
    ['nvme:write:3=status:0x280', { command: { opcode: 1, isAdmin: false }, what: 0x280 }],
    [
      'nvme:cmd:5=never@queue=2',
      { command: { opcode: null, isAdmin: false }, what: CommandFault.NEVER, queue: 2 },
    ],
    ['nvme:read:1=late:0.2s', { what: CommandFault.LATE, lateMs: 200 }],
    ['nvme:read:/2=reorder', { what: CommandFault.LATE, lateMs: 0 }],
    ['nvme:admin:0=twice', { what: CommandFault.TWICE, when: { first: forever } }],
    ['nvme:create-cq=status:6', { command: { opcode: 5, isAdmin: true }, what: 6 }],
    ['device:unplug@2s', { afterMs: 2000, when: { first: 1, last: 1 } }],
    ['nvme:CSTS.CFS@200ms,device=02:00.0', { afterMs: 200, device: '0000:02:00.0' }],
    [
      'register:bar2+0x1c:3=0x80000000',
      { register: { region: 2, offset: 0x1c }, when: { first: 3 }, what: 0x80000000 },
    ],
    ['register:config+6=0', { register: { region: 7, offset: 6 }, what: 0 }],
    ['call:DEVICE_RESET=late:2s', { point: 'call', lateMs: 2000, what: 0 }],
    ['link:down@2s', { afterMs: 2000, when: { first: 1, last: 1 }, lateMs: 0 }],
    ['link:down:5=200ms', { when: { first: 5, last: 5 }, lateMs: 200, what: 0 }],
    ['interrupt:spurious', { when: { first: 1, last: 1 }, vector: null }],
    ['interrupt:drop:2@vector=1', { point: 'interrupt:drop', vector: 1 }],
  ])('%s is read', (text, expected) => {
    expect(parseRule(text)).toMatchObject({ text, ...expected });
  });

  it.each([
    ['', 'there is no point ""; points: call:NAME=ERRNO|late:TIME, group:not-viable, dma:refuse,'],
    ['dma:lose', 'there is no point "dma:lose"'],
    ['call', 'there is no point "call"'],
    ['call:IOAS_MAP=EWRONG', 'ERRNO: EPERM, ENOENT'],
    ['call:MAPS=EIO', 'there is no call "MAPS"; calls: *, GET_API_VERSION'],
    ['call:EINTR=soon', '"soon" is no time'],
    ['nvme:read=status:0x800', 'a status is type * 256 + code, 0x1 to 0x7ff'],
    ['nvme:read=late:soon', 'late: takes a time, like 200ms or 2s, not "soon"'],
    [
      'nvme:read=late',
      'nvme:COMMAND=status:NUMBER|never|late:TIME|reorder|twice is needed, not "=late"',
    ],
    ['iommu:request', 'iommu:request=INVALID|FAILURE|PARTIAL|FULL is needed'],
    ['link:down=soon', 'link:down= takes a time, like 200ms or 2s'],
    ['register:bar6+0=1', '"bar6+0" is no register: bar0+0x1c, rom+0x0, config+0x6'],
    ['register:bar0+0x1c', 'register:PLACE=NUMBER is needed'],
    ['register:bar0+4=0x100000000', 'is needed, not "=0x100000000"'],
    ['dma:refuse=no', 'dma:refuse is needed, not "=no"'],
    ['dma:refuse:101%', '"101%" is no time'],
    ['dma:refuse:1:2', '"2" has no place in it'],
    ['dma:refuse@iova=0x2000-0x1000', 'iova= takes an address, or [first, end)'],
    ['dma:refuse@queue=1', '@ takes a time (2s, 200ms), device=, iova=, access='],
    ['dma:refuse@1s@2s', 'it has two @'],
    ['interrupt:drop@vector=x', 'vector= takes a number'],
    ['device:unplug@device=x', 'device= takes a PCI address'],
  ])('%s is refused, with what would be right', (text, message) => {
    expect(() => parseRule(text)).toThrow(`rule "${text}": `);
    expect(() => parseRule(text)).toThrow(message);
  });

  it.each([
    ['ring:short:3', { value: true }],
    ['ring:status:/2=0x10@device=01:00.0', { value: 16 }],
    ['ring:side=left', { value: 'left' }],
  ])('%s is read where a device declares it', (text, expected) => {
    expect(parseRule(text, own)).toMatchObject({ point: 'own', own: expected });
    expect(() => parseRule(text)).toThrow('there is no point "ring:');
  });

  it.each([
    ['ring:short=1', 'ring:short is needed, not "=1"'],
    ['ring:status', 'ring:status=NUMBER is needed'],
    ['ring:status=0x100000000', 'ring:status=NUMBER is needed, not "=0x100000000"'],
    ['ring:side=top', 'ring:side=left|right is needed, not "=top"'],
    ['ring:short@iova=0x1000', '@ takes a time (2s, 200ms), device='],
    ['own:short', 'ring:short, ring:status=NUMBER, ring:side=left|right'],
  ])('%s is refused where a device declares others', (text, message) => {
    expect(() => parseRule(text, own)).toThrow(message);
  });

  it('means the same call by each of its names, and all that share a short one', () => {
    const requests = (name: string) => parseRule(`call:${name}=EIO`).requests;
    const map = [{ file: 'container', request: Type1Ioctl.VFIO_IOMMU_MAP_DMA }];
    for (const name of ['MAP_DMA', 'IOMMU_MAP_DMA', 'VFIO_IOMMU_MAP_DMA'])
      expect(requests(name)).toEqual(map);
    expect(requests('GET_INFO')).toEqual([
      { file: 'container', request: Type1Ioctl.VFIO_IOMMU_GET_INFO },
      { file: 'device', request: DeviceIoctl.VFIO_DEVICE_GET_INFO },
    ]);
    expect(requests('SET_IOMMU')).toEqual([
      { file: 'container', request: ContainerIoctl.VFIO_SET_IOMMU },
    ]);
  });

  it('of a file is named with its line', () => {
    expect(parseRuleFile('rules:\n  - dma:refuse:1\n', 'a.yaml')).toMatchObject([
      { text: 'dma:refuse:1' },
    ]);
    expect(() => parseRuleFile('rules:\n  - dma:refuse:1\n  - dma:loose\n', 'a.yaml')).toThrow(
      'a.yaml:3: rules.1: rule "dma:loose": there is no point',
    );
    expect(() => parseRuleFile('rule: 1\n', 'a.yaml')).toThrow('allowed here: schema, rules');
  });

  it('has a form in docs/inject.md, whatever its point', async () => {
    const { readFileSync } = await import('node:fs');
    const text = readFileSync(new URL('../../docs/inject.md', import.meta.url), 'utf8');
    for (const { event, fault, form } of Object.values(points)) {
      const row = `| \`${form.replaceAll('|', '\\|')}\` | ${event} | ${fault} |`;
      expect(text.split('\n')).toContain(row);
    }
  });
});
