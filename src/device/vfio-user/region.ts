/** DEVICE_GET_REGION_INFO: how large a region is, and which parts of it are a file's memory. */
import { ArgumentBuffer } from '../../abi/argument-buffer.js';
import { RegionCapability, RegionFlag } from '../../abi/vfio.js';
import {
  InfoCapHeader,
  RegionInfo,
  SparseMmapArea,
  SparseMmapCap,
} from '../../abi/vfio-structs.js';
import { PAGE_SIZE } from '../../mm/address-space.js';
import type { RegionArea } from '../../vfio/pci-function.js';
import { Command } from '../../vfio-user/protocol.js';
import type { Client } from './client.js';
import type { PeerHost } from './host.js';

/** What can be addressed of a region in a device's file (abi/vfio.ts, REGION_OFFSET). */
const REGION_MOST = 2 ** 40;
/** Bytes of an answer with all its areas. */
const ANSWER_MOST = 2 ** 16;

export interface RemoteRegion {
  /** Bytes; 0: there is none. */
  readonly size: number;
  /** VFIO_REGION_INFO_FLAG_*. */
  readonly flags: number;
  /** Where it begins in its file, in bytes. */
  readonly offset: number;
  /** The file; -1: it has none, and no areas. */
  readonly fd: number;
  /** What of it the file has, in whole pages, ascending. */
  readonly areas: readonly RegionArea[];
}

/** The end of a sentence that begins with the server; throws. */
type Refuse = (reason: string) => never;

const request = new ArgumentBuffer(RegionInfo.size);

/**
 * Asks for a region: first without room for capabilities, then with what the answer says it needs
 * (libvfio-user gives the descriptor only then). Null: the server has no such region.
 */
export function readRegion(
  client: Client,
  host: PeerHost,
  index: number,
  refuse: Refuse,
): RemoteRegion | null {
  let argsz = RegionInfo.size;
  for (let isAgain = false; ; isAgain = true) {
    request.bytes.fill(0);
    request.setU32(RegionInfo.at.argsz, argsz);
    request.setU32(RegionInfo.at.index, index);
    if (client.request(Command.DEVICE_GET_REGION_INFO, request.bytes) !== 0) {
      if (client.death !== null) refuse(client.death);
      return null;
    }
    const descriptors = client.takeDescriptors();
    const [fd = -1, ...rest] = descriptors;
    for (const each of rest) host.closeFile(each);
    const answer = client.reply;
    if (answer.length < RegionInfo.size)
      refuse(`answers DEVICE_GET_REGION_INFO with ${answer.length} bytes of ${RegionInfo.size}`);
    const view = new DataView(answer.buffer, answer.byteOffset, answer.length);
    const needed = view.getUint32(RegionInfo.at.argsz, true);
    if (needed > ANSWER_MOST) refuse(`says region ${index} takes ${needed} bytes to describe`);
    if (needed <= argsz || isAgain) return parse(view, index, fd, host, refuse);
    if (fd >= 0) host.closeFile(fd);
    argsz = needed;
  }
}

function parse(
  view: DataView,
  index: number,
  fd: number,
  host: PeerHost,
  refuse: Refuse,
): RemoteRegion {
  const size = Number(view.getBigUint64(RegionInfo.at.size, true));
  const flags = view.getUint32(RegionInfo.at.flags, true);
  const offset = Number(view.getBigUint64(RegionInfo.at.offset, true));
  if (size > REGION_MOST) refuse(`says region ${index} has ${size} bytes; at most ${REGION_MOST}`);
  const isFile = (flags & RegionFlag.VFIO_REGION_INFO_FLAG_MMAP) !== 0 && size > 0;
  if (!isFile || fd < 0) {
    if (fd >= 0) host.closeFile(fd);
    return { size, flags, offset, fd: -1, areas: [] };
  }
  const areas = sparseAreas(view, flags) ?? [{ offset: 0, size }];
  const end = Math.ceil(size / PAGE_SIZE) * PAGE_SIZE;
  const fileBytes = host.fileBytes(fd);
  const whole = areas
    .map((area) => ({ offset: area.offset, size: pagesUp(area.size) }))
    .filter((area) => area.size > 0 && area.offset % PAGE_SIZE === 0)
    .sort((one, other) => one.offset - other.offset);
  let at = 0;
  for (const area of whole) {
    if (area.offset < at || area.offset + area.size > end)
      refuse(`says region ${index} can be mapped at ${place(area)}, beyond it or twice`);
    if (fileBytes >= 0 && offset + area.offset + area.size > pagesUp(fileBytes))
      refuse(`says region ${index} can be mapped at ${place(area)}, beyond its file's end`);
    at = area.offset + area.size;
  }
  return { size, flags, offset, fd, areas: offset % PAGE_SIZE === 0 ? whole : [] };
}

/** Null: the answer has no list of areas. */
function sparseAreas(view: DataView, flags: number): RegionArea[] | null {
  if ((flags & RegionFlag.VFIO_REGION_INFO_FLAG_CAPS) === 0) return null;
  let at = view.getUint32(RegionInfo.at.cap_offset, true);
  // Each capability lies behind the one before, so a chain ends.
  while (at >= RegionInfo.size && at + InfoCapHeader.size <= view.byteLength) {
    const next = view.getUint32(at + InfoCapHeader.at.next, true);
    const id = view.getUint16(at + InfoCapHeader.at.id, true);
    if (id === RegionCapability.VFIO_REGION_INFO_CAP_SPARSE_MMAP) return areasAt(view, at);
    if (next <= at) return null;
    at = next;
  }
  return null;
}

function areasAt(view: DataView, at: number): RegionArea[] {
  const first = at + SparseMmapCap.size;
  if (first > view.byteLength) return [];
  const room = Math.floor((view.byteLength - first) / SparseMmapArea.size);
  const count = Math.min(view.getUint32(at + SparseMmapCap.at.nr_areas, true), room);
  return Array.from({ length: count }, (_, index) => {
    const area = first + index * SparseMmapArea.size;
    return {
      offset: Number(view.getBigUint64(area + SparseMmapArea.at.offset, true)),
      size: Number(view.getBigUint64(area + SparseMmapArea.at.size, true)),
    };
  });
}

const pagesUp = (bytes: number): number => Math.ceil(bytes / PAGE_SIZE) * PAGE_SIZE;

const place = ({ offset, size }: RegionArea): string =>
  `[0x${offset.toString(16)}, 0x${(offset + size).toString(16)})`;
