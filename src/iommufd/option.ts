/** IOMMU_OPTION (kernel: iommufd_option). */
import type { ArgumentBuffer } from '../abi/argument-buffer.js';
import { fail } from '../abi/errno.js';
import { OptionId, OptionOp } from '../abi/iommufd.js';
import { Option } from '../abi/iommufd-structs.js';
import { runDirect } from '../flow/direct.js';
import type { Call } from './call.js';
import { Ioas } from './ioas.js';

const { at } = Option;

/** EOPNOTSUPP: reserved, an option or operation that is none; EFAULT: then it is set. */
export function option(call: Call): void {
  const { buffer, caller, argument } = call;
  if (buffer.u16(at.__reserved) !== 0) fail('EOPNOTSUPP');
  switch (buffer.u32(at.option_id)) {
    case OptionId.IOMMU_OPTION_RLIMIT_MODE:
      rlimitMode(call);
      break;
    case OptionId.IOMMU_OPTION_HUGE_PAGES:
      hugePages(call);
      break;
    case OptionId.IOMMU_OPTION_IOPF:
      iopf(call);
      break;
    default:
      fail('EOPNOTSUPP');
  }
  const value = buffer.bytes.subarray(at.val64, Option.size);
  if (!caller.mm.copyTo(argument + at.val64, value)) fail('EFAULT');
}

/**
 * Against whose limit pinned pages count: 0: the user's, 1: the process's. EPERM; EBUSY: there are
 * objects already; EINVAL.
 */
function rlimitMode({ buffer, caller, context }: Call): void {
  if (buffer.u32(at.object_id) !== 0) fail('EOPNOTSUPP');
  if (buffer.u16(at.op) === OptionOp.IOMMU_OPTION_OP_GET) {
    buffer.setBig(at.val64, context.rlimitMode === 'process' ? 1n : 0n);
    return;
  }
  if (buffer.u16(at.op) !== OptionOp.IOMMU_OPTION_OP_SET) fail('EOPNOTSUPP');
  if (!caller.sysResource) fail('EPERM');
  if (!context.objects.isEmpty) fail('EBUSY');
  const value = buffer.big(at.val64);
  if (value > 1n) fail('EINVAL');
  context.rlimitMode = value === 1n ? 'process' : 'user';
}

/** Whether page tables of an IOAS have large entries. ENOENT; EINVAL, EADDRINUSE. */
function hugePages({ buffer, context }: Call): void {
  const ioas = context.objects.get(buffer.u32(at.object_id), Ioas);
  getOrSet(buffer, ioas.hugePages, (large) => ioas.setHugePages(large));
}

/**
 * IOPF's own: whether pages of an IOAS are left to faults. EOPNOTSUPP: IOPF is off; ENOENT; EINVAL;
 * and what `Iopf.enable` and `disable` answer: ENODEV, EBUSY, ENOMEM, EFAULT.
 */
function iopf({ buffer, context }: Call): void {
  if (context.machine.iopf === 'off') fail('EOPNOTSUPP');
  const { space } = context.objects.get(buffer.u32(at.object_id), Ioas);
  getOrSet(buffer, space.iopf.enabled, (on) =>
    runDirect(on ? space.leaveToFaults() : space.pinAll()),
  );
}

/** An option that is on or off. EOPNOTSUPP: another operation; EINVAL: another value. */
function getOrSet(buffer: ArgumentBuffer, is: boolean, set: (to: boolean) => void): void {
  if (buffer.u16(at.op) === OptionOp.IOMMU_OPTION_OP_GET) {
    buffer.setBig(at.val64, is ? 1n : 0n);
    return;
  }
  if (buffer.u16(at.op) !== OptionOp.IOMMU_OPTION_OP_SET) fail('EOPNOTSUPP');
  const value = buffer.big(at.val64);
  if (value > 1n) fail('EINVAL');
  set(value === 1n);
}
