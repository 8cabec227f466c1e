/** What the registers of a VT-d unit of some properties say (VT-d specification 11.4). */
import { type IommuProperties, PAGE_1G, PAGE_2M } from './geometry.js';

/** CAP_REG (11.4.2). */
export function capabilityRegister(properties: IommuProperties): bigint {
  const { addressWidth, pageSizes, cachingMode = false, nests = false } = properties;
  const DOMAINS_64K = 6;
  const CACHING_MODE = 0x80;
  const LEVELS_3 = 0x200;
  const LEVELS_4 = 0x400;
  const FAULT_RECORDS_AT = 0x22;
  const PAGE_SELECTIVE = 0x80;
  const DRAINS_AND_MASK = 0xd2; // read and write draining; up to 2^18 pages in an invalidation
  const FIRST_LEVEL_1G = 2 ** 24;
  const levels = addressWidth > 39 ? LEVELS_3 | LEVELS_4 : LEVELS_3;
  const caching = cachingMode ? CACHING_MODE : 0;
  const width = (addressWidth - 1) << 16;
  const low = DOMAINS_64K | caching | levels | width | (FAULT_RECORDS_AT * 2 ** 24);
  const large = ((pageSizes & PAGE_2M) !== 0 ? 4 : 0) | ((pageSizes & PAGE_1G) !== 0 ? 8 : 0);
  const firstLevel1G = nests ? FIRST_LEVEL_1G : 0;
  const high = DRAINS_AND_MASK * 2 ** 16 + (PAGE_SELECTIVE | large) + firstLevel1G;
  return (BigInt(high) << 32n) | BigInt(low >>> 0);
}

/** ECAP_REG (11.4.3). */
export function extendedCapabilityRegister(properties: IommuProperties): bigint {
  const QUEUED_INVALIDATION = 0x2;
  const INTERRUPT_REMAPPING = 0x8;
  const PASS_THROUGH = 0x40;
  const SNOOP_CONTROL = 0x80;
  const IOTLB_AT_AND_HANDLES = 0xf00f00;
  const NESTED = 1n << 26n;
  // Which nesting takes.
  const SCALABLE_MODE = 1n << 43n;
  const BOTH_STAGES = 3n << 46n;
  const { snoopControl, interruptRemapping, nests = false } = properties;
  const low = BigInt(
    QUEUED_INVALIDATION |
      PASS_THROUGH |
      IOTLB_AT_AND_HANDLES |
      (interruptRemapping ? INTERRUPT_REMAPPING : 0) |
      (snoopControl ? SNOOP_CONTROL : 0),
  );
  return nests ? low | NESTED | SCALABLE_MODE | BOTH_STAGES : low;
}
