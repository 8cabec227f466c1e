/** REGION_READ, REGION_WRITE, REGION_WRITE_MULTI. */
import { fail } from '../abi/errno.js';
import { PciRegionIndex } from '../abi/pci.js';
import type { PciFunction } from '../vfio/pci-function.js';
import { TRANSFER_BYTES } from '../vfio-user/protocol.js';
import { RegionAccess, WriteMulti, WriteMultiEntry } from '../vfio-user/structs.js';
import { bufferOf, type Reply, type Request, readBody } from './request.js';

const access = bufferOf(RegionAccess);
const entry = bufferOf(WriteMultiEntry);
/** Bytes of a write among several. */
const MULTI_BYTES = 8;

/** EINVAL: the body, more than 1 MiB, the region, or what lies beyond it. */
export function readRegion({ body }: Request, reply: Reply, served: PciFunction): void {
  readBody(body, 0, access);
  const count = access.u32(RegionAccess.at.count);
  if (count > TRANSFER_BYTES) fail('EINVAL');
  const offset = checkPlace(access, served);
  if (count === 0) return;
  const data = reply.bytes.subarray(RegionAccess.size, RegionAccess.size + count);
  const region = access.u32(RegionAccess.at.region);
  reply.bytes.set(access.bytes);
  served.readRegion(region, offset, data);
  reply.length = RegionAccess.size + count;
}

/**
 * As `readRegion`; the body is as long as it says. The reply stands before the device is told: it
 * may go out first.
 */
export function writeRegion(request: Request, reply: Reply, served: PciFunction): void {
  const { body } = request;
  const offset = beginWrite(request, reply, served);
  if (reply.length === 0) return;
  served.writeRegion(access.u32(RegionAccess.at.region), offset, body.subarray(RegionAccess.size));
}

/** Checks a write and makes its reply; returns where it goes. EINVAL, as `writeRegion`. */
export function beginWrite({ body }: Request, reply: Reply, served: PciFunction): number {
  readBody(body, 0, access);
  const count = access.u32(RegionAccess.at.count);
  if (count > TRANSFER_BYTES || body.length !== RegionAccess.size + count) fail('EINVAL');
  const offset = checkPlace(access, served);
  if (count > 0) reply.bytes.set(access.bytes);
  reply.length = count > 0 ? RegionAccess.size : 0;
  return offset;
}

/**
 * Writes of up to 8 bytes each, in order. Returns how many were done; the first that is wrong ends
 * it. EINVAL: the body is not as long as it says.
 */
export function writeMultiple({ body }: Request, reply: Reply, served: PciFunction): void {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  if (body.length < WriteMulti.size) fail('EINVAL');
  const count = Number(view.getBigUint64(WriteMulti.at.count, true));
  if (body.length !== WriteMulti.size + count * WriteMultiEntry.size) fail('EINVAL');
  let done = 0;
  for (; done < count; done++) {
    readBody(body, WriteMulti.size + done * WriteMultiEntry.size, entry);
    const bytes = entry.u32(WriteMultiEntry.at.count);
    const region = entry.u32(WriteMultiEntry.at.region);
    if (bytes === 0 || bytes > MULTI_BYTES || !isInside(entry, served)) break;
    const { data } = WriteMultiEntry.at;
    const offset = entry.u64(WriteMultiEntry.at.offset);
    served.writeRegion(region, offset, entry.bytes.slice(data, data + bytes));
  }
  reply.view.setBigUint64(WriteMulti.at.count, BigInt(done), true);
  reply.length = WriteMulti.size;
}

/** The offset of an access that lies inside its region. */
function checkPlace(request: typeof access, served: PciFunction): number {
  if (!isInside(request, served)) fail('EINVAL');
  return request.u64(RegionAccess.at.offset);
}

/** Both structs begin alike. A sum that is not exact is beyond any region. */
function isInside(request: typeof access, { regions }: PciFunction): boolean {
  const { at } = RegionAccess;
  const region = request.u32(at.region);
  if (region >= PciRegionIndex.COUNT) return false;
  return request.u64(at.offset) + request.u32(at.count) <= regions[region]!.size;
}
