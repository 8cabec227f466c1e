/**
 * The places in a machine where a fault can be put on purpose, each named once: help,
 * docs/inject.md and JSON say what stands here.
 *
 * Terms: a *point* is passed each time its event happens; a *rule* names a point and says at which
 * of those times the fault is. The event of a rule is counted where its conditions hold. What a
 * device of the user's own declares is `own` here, and an `OwnPoint` in full.
 */

export const points = {
  call: {
    form: 'call:NAME=ERRNO|late:TIME',
    event: 'an ioctl on a file of VFIO or iommufd that is NAME, or any with *',
    fault: 'it fails with ERRNO and does nothing; late: it is carried out after TIME',
    conditions: [],
    sweep: ['call:*=ENOMEM'],
  },
  'group:not-viable': {
    form: 'group:not-viable',
    event: 'GROUP_GET_STATUS or GROUP_SET_CONTAINER of a group that has no container',
    fault: "a device of the group is then the host's: the status is not VIABLE, or EPERM",
    conditions: [],
    sweep: ['group:not-viable'],
  },
  'dma:refuse': {
    form: 'dma:refuse',
    event: 'an access of a device to memory, at most a page each',
    fault: 'it is refused, as by an IOMMU without a translation',
    conditions: ['device', 'iova', 'access'],
    sweep: ['dma:refuse'],
  },
  'iommu:request': {
    form: 'iommu:request=INVALID|FAILURE|PARTIAL|FULL',
    event: 'a page request of a device',
    fault:
      'it is answered so, and the access is refused; PARTIAL: it is in a group whose other ' +
      'request cannot be granted, so its page comes, and the group is INVALID; FULL: there is no ' +
      "room for it in the IOMMU's queue, and the device asks again, up to 16 times",
    conditions: ['device', 'iova', 'access'],
    sweep: ['iommu:request=INVALID', 'iommu:request=PARTIAL', 'iommu:request=FULL'],
  },
  'memory:take': {
    form: 'memory:take',
    event: 'an access of a device to memory, at most a page each',
    fault: 'the page goes from the I/O page tables before it, as when the host takes it',
    conditions: ['device', 'iova', 'access'],
    sweep: ['memory:take'],
  },
  'memory:take-all': {
    form: 'memory:take-all',
    event: 'an access of a device to memory, at most a page each',
    fault: 'all pages that its IOMMU has go from the I/O page tables before it',
    conditions: ['device', 'iova', 'access'],
    sweep: ['memory:take-all'],
  },
  'nvme:command': {
    form: 'nvme:COMMAND=status:NUMBER|never|late:TIME|reorder|twice',
    event: 'a command that an nvme fetches: its name (read, create-cq), cmd for I/O, admin',
    fault:
      'it is not carried out: it completes with this status, or never; or it is, and its ' +
      'completion comes this much later, behind those of other commands, or twice',
    conditions: ['device', 'queue'],
    sweep: [
      ...['nvme:admin=status:0x6', 'nvme:admin=never', 'nvme:admin=twice'],
      ...['nvme:cmd=status:0x6', 'nvme:cmd=never', 'nvme:cmd=late:100ms', 'nvme:cmd=reorder'],
      'nvme:cmd=twice',
    ],
  },
  'nvme:CSTS.CFS': {
    form: 'nvme:CSTS.CFS',
    event: 'a command that an nvme fetches',
    fault: 'neither it nor any other completes, and CSTS.CFS is set until the controller is reset',
    conditions: ['device', 'queue'],
    sweep: ['nvme:CSTS.CFS'],
  },
  'interrupt:drop': {
    form: 'interrupt:drop',
    event: 'an interrupt of a device: a message, or its pin going up',
    fault: 'it gets lost',
    conditions: ['device', 'vector'],
    sweep: ['interrupt:drop'],
  },
  'interrupt:duplicate': {
    form: 'interrupt:duplicate',
    event: 'a message (MSI, MSI-X) of a device',
    fault: 'it comes twice',
    conditions: ['device', 'vector'],
    sweep: ['interrupt:duplicate'],
  },
  'interrupt:spurious': {
    form: 'interrupt:spurious',
    event: 'an access to a region of an open device; a time comes without one too',
    fault: 'an interrupt comes that nobody caused: message vector=N (0), or its pin up and down',
    conditions: ['device', 'vector'],
    sweep: ['interrupt:spurious'],
  },
  register: {
    form: 'register:PLACE=NUMBER',
    event: 'a read that begins at PLACE: bar0+0x1c, rom+0x0, config+0x6',
    fault: 'what it reads is NUMBER, up to 32 bits',
    conditions: ['device'],
    sweep: [],
  },
  'link:down': {
    form: 'link:down[=TIME]',
    event: 'a frame that an igb or virtio-net sends; a time comes without one too',
    fault: 'it and what comes after it is lost, in and out; the link is up again after TIME',
    conditions: ['device'],
    sweep: ['link:down'],
  },
  'device:unplug': {
    form: 'device:unplug',
    event: 'an access to a region of an open device; a time comes without one too',
    fault: 'it is gone: ERR and REQ are signalled, reads are ones, nothing else happens any more',
    conditions: ['device'],
    sweep: ['device:unplug'],
  },
  'device:dead': {
    form: 'device:dead',
    event: 'an access to a region of an open device; a time comes without one too',
    fault: 'the same, and nobody is told: no ERR, no REQ',
    conditions: ['device'],
    sweep: ['device:dead'],
  },
  own: {
    form: 'KIND:POINT[=VALUE]',
    event: 'what a device of your own says of its point',
    fault: 'what it says',
    conditions: ['device'],
    sweep: [],
  },
} as const satisfies Readonly<Record<string, Point>>;

export type PointName = keyof typeof points;

interface Point {
  /** How a rule begins. */
  readonly form: string;
  /** What is counted. */
  readonly event: string;
  readonly fault: string;
  readonly conditions: readonly ConditionName[];
  /** What `--inject-each` puts at each time that it is passed: rules without a WHEN. */
  readonly sweep: readonly string[];
}

/** What a rule may ask for behind `@`, where the point has it; a time may be asked for anywhere. */
export const conditions = {
  device: 'device=0000:02:00.0: of this device alone',
  iova: 'iova=0x1000, iova=0x1000-0x3000: at this address, or in [first, end)',
  access: 'access=read, access=write: in this direction; access=N: the N-th, as :N',
  queue: 'queue=N: of this submission queue',
  vector: 'vector=N: of this vector',
} as const;

export type ConditionName = keyof typeof conditions;

/** Once, unless the rule says otherwise: they end what they meet, or are passed all the time. */
export const onceOnly: ReadonlySet<PointName> = new Set<PointName>([
  'nvme:CSTS.CFS',
  'interrupt:spurious',
  'link:down',
  'device:unplug',
  'device:dead',
]);

/** Points that are there only where devices can have I/O page faults. */
export const needsFaults: ReadonlySet<PointName> = new Set<PointName>([
  'iommu:request',
  'memory:take',
  'memory:take-all',
]);

/** For `--help`. */
export function pointsHelp(): string {
  const lines = Object.values(points).map(({ form, fault }) => `  ${form}\n      ${fault}`);
  return (
    '\nFaults (--inject POINT[:WHEN][=WHAT][@CONDITIONS]; WHEN: 3 the third time, 3+ from it on,\n' +
    '/3 each third, 1% by chance, 0 never; @2s after that time; all in docs/inject.md):\n' +
    `${lines.join('\n')}\n`
  );
}
