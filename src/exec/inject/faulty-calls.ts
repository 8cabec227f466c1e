/** Ioctls that fail on purpose. */
import { VfioError } from '../../abi/errno.js';
import type { ArmedRule, Plan } from '../../inject/plan.js';
import type { CallContext, FirstLooks } from '../calls/context.js';

/** Looks at ioctls before they are answered, where the plan has rules for them. */
export function faultyCalls(plan: Plan, context: CallContext): FirstLooks {
  const rules = plan.at(['call']);
  return rules.length === 0 ? {} : { ioctl: () => failOne(rules, context) };
}

/** False: the call goes on. Throws VfioError. */
function failOne(rules: readonly ArmedRule[], context: CallContext): boolean {
  const { call, caller, descriptors, failed, files, log } = context;
  const fd = call.int(0);
  const process = caller.enter();
  const opened = descriptors.lookUp(process, fd);
  if (opened === null || opened === 'other') return false;
  const { file } = opened;
  // It comes again when it is its turn.
  if (files.isBusy && file.standsAlone !== true) return false;
  const request = call.uint(1);
  let errno = 0;
  for (const each of rules) {
    const { requests, what } = each.rule;
    if (requests?.some((of) => of.file === file.kind && of.request === request) === false) continue;
    if (each.passes() && errno === 0) errno = what;
  }
  if (errno === 0) return false;
  failed.kind = file.kind;
  log?.noteFile(process.pid, fd, opened);
  throw new VfioError(errno);
}
