/** What is said of an access that was refused, and of many. */
import { expect, test } from 'vitest';
import { IncidentLog } from '../../src/exec/incidents/incident-log.js';
import { explain } from '../../src/exec/incidents/refusal.js';
import { IommuDevice } from '../../src/iommu/device.js';
import { READ, WRITE } from '../../src/mm/address-space.js';
import { Kit } from '../vfio/kit.js';

const space = new Kit().ready();
space.map(0x100, 0x40);
space.map(0x200, 1, 0x40, READ);
space.map(0x300, 1, 0x41, WRITE);
const ioSpace = space.machine.ioSpaces()[0]!;

test.each([
  [0x140, WRITE, 'not mapped', 'right behind the end of [0x100000, 0x140000)'],
  [0x141, READ, 'not mapped', '4 KiB behind the end of [0x100000, 0x140000)'],
  [0x1ff, READ, 'not mapped', '4 KiB before [0x200000, 0x201000)'],
  [0, READ, 'not mapped', '1 MiB before [0x100000, 0x140000)'],
  [2 ** 35, READ, 'not mapped', '128 TiB behind the end of [0x300000, 0x301000)'],
  [0x200, WRITE, 'permission', '[0x200000, 0x201000) is read-only'],
  [0x300, READ, 'permission', '[0x300000, 0x301000) is write-only'],
  [0x100, READ, 'page could not be brought in', 'it is mapped by [0x100000, 0x140000)'],
  [-1, READ, 'not mapped', "the guest's table has no entry for it"],
])('page 0x%x, access %i: %s, %s', (page, access, reason, nearest) => {
  const explained = explain('no translation', page * 4096, page, access, ioSpace);
  expect(explained).toEqual({ reason, nearest });
});

test('where nothing is mapped, where there is no domain, and where somebody said no', () => {
  const empty = new Kit().ready().machine.ioSpaces()[0]!;
  expect(explain('no translation', 0, 0, READ, empty).nearest).toBe('nothing is mapped');
  expect(explain('no translation', 0, 0, READ, null).reason).toBe('no IOMMU domain');
  expect(explain('answered INVALID', 0, 0, READ, empty).reason).toBe('answered INVALID');
  expect(explain('bus mastering off', 0, 0, READ, empty).reason).toBe('bus mastering off');
});

test('the first 64 places are kept, all are counted, and one place is one entry', () => {
  const log = new IncidentLog(() => 0);
  const device = new IommuDevice({ address: '0000:00:01.0', incidents: log });
  for (let page = 0; page < 100; page++)
    for (let time = 0; time < 3; time++)
      device.refused(page * 4096 + time, WRITE, 'no translation', () => null);
  const { refused, refusedAccesses } = log.counts;
  expect(refusedAccesses).toBe(300);
  expect(refused).toHaveLength(64);
  expect(refused.every(({ count, iova }) => count === 3 && iova % 4096 === 0)).toBe(true);
});

test('of the resets of a device the newest 64 are kept', () => {
  let now = 0;
  const log = new IncidentLog(() => now);
  const device = new IommuDevice({ address: '0000:00:01.0', incidents: log });
  for (now = 1000; now <= 100_000; now += 1000) device.reset();
  expect(log.events).toHaveLength(64);
  expect(log.events.at(-1)).toEqual({ kind: 'reset', device: '0000:00:01.0', seconds: 100 });
});
