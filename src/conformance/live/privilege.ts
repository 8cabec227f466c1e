/** What a process may do: capabilities, and how much it may lock. */
import { allocateNative, syscall } from '../../mm/process/libc.js';
import { setLimit } from '../../mm/process/limits.js';
import { check } from './checked.js';

const RLIMIT_MEMLOCK = 8;
const CAPABILITY_VERSION_3 = 0x20080522;
const capabilityCalls: Readonly<Record<string, { capget: number; capset: number }>> = {
  x64: { capget: 125, capset: 126 },
  arm64: { capget: 90, capset: 91 },
};
/** struct __user_cap_header_struct, and two of struct __user_cap_data_struct behind it. */
const scratch = allocateNative(32);
const view = new DataView(scratch.bytes.buffer, 0, 32);

/** capset(2) without one of the first 32 capabilities, for this thread. */
export function dropCapability(capability: number): void {
  view.setUint32(0, CAPABILITY_VERSION_3, true);
  view.setUint32(4, 0, true);
  const header = scratch.address;
  const sets = header + 8;
  const { capget, capset } = capabilityCalls[process.arch]!;
  check(syscall(capget, header, sets, 0, 0, 0, 0));
  // Effective, permitted and inheritable of the capabilities below 32.
  for (let at = 8; at < 20; at += 4)
    view.setUint32(at, view.getUint32(at, true) & ~(1 << capability), true);
  check(syscall(capset, header, sets, 0, 0, 0, 0));
}

/** RLIMIT_MEMLOCK of this process. */
export function setMemlockLimit(bytes: number): void {
  check(setLimit(RLIMIT_MEMLOCK, { soft: bytes, hard: bytes }));
}
