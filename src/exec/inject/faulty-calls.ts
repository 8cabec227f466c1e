/** Ioctls that fail, take long, or find their group shared with the host, on purpose. */
import { VfioError } from '../../abi/errno.js';
import { GroupIoctl } from '../../abi/vfio.js';
import type { VfioFile } from '../../file/file.js';
import type { ArmedRule, Plan } from '../../inject/plan.js';
import { GroupFile } from '../../vfio/group-file.js';
import type { CallContext, FirstLooks } from '../calls/context.js';
import { Later } from '../seccomp/later.js';

/** A function that no machine has. */
const FOREIGN = 'of another driver';

/** Looks at ioctls before they are answered, where the plan has rules for them. */
export function faultyCalls(plan: Plan, context: CallContext): FirstLooks {
  const rules = plan.at(['call', 'group:not-viable']);
  return rules.length === 0 ? {} : { ioctl: () => look(rules, context) };
}

/** False: the call goes on. Throws VfioError, or Later. */
function look(rules: readonly ArmedRule[], context: CallContext): boolean {
  const { call, caller, descriptors, failed, files, log } = context;
  const fd = call.int(0);
  const process = caller.enter();
  const opened = descriptors.lookUp(process, fd);
  if (opened === null || opened === 'other') return false;
  const { file } = opened;
  // It comes again when it is its turn.
  if (files.isBusy && file.standsAlone !== true) return false;
  // It has come again.
  if (call.hasWaited) return false;
  const request = call.uint(1);
  const group = groupAsked(file, request);
  let errno = 0;
  let lateMs = 0;
  let isShared = false;
  for (const each of rules) {
    const { lateMs: ms, point, requests, what } = each.rule;
    if (point === 'group:not-viable') {
      if (group !== null && each.passes()) isShared = true;
      continue;
    }
    if (requests?.some((of) => of.file === file.kind && of.request === request) === false) continue;
    if (!each.passes()) continue;
    if (errno === 0) errno = what;
    if (lateMs === 0) lateMs = ms;
  }
  group?.bind(FOREIGN, isShared ? 'host' : null);
  if (errno === 0 && lateMs > 0) throw new Later(lateMs);
  if (errno === 0) return false;
  failed.kind = file.kind;
  log?.noteFile(process.pid, fd, opened);
  throw new VfioError(errno);
}

/** The group that a request asks whether it is viable; null: it does not, or it has been taken. */
function groupAsked(file: VfioFile, request: number): GroupFile['group'] | null {
  if (!(file instanceof GroupFile)) return null;
  const { group } = file;
  const asks =
    request === GroupIoctl.VFIO_GROUP_GET_STATUS || request === GroupIoctl.VFIO_GROUP_SET_CONTAINER;
  return asks && !group.inContainer && !group.iommuGroup.isClaimed ? group : null;
}
