/** The scenarios that `iopf check` runs, in this order. */
import type { Scenario } from '../scenario.js';
import * as control from './control-paths.js';
import * as devices from './devices.js';
import * as dirtyLog from './dirty-log.js';
import * as pins from './driver-pins.js';
import * as stages from './first-stage.js';
import * as memory from './memory.js';
import * as races from './page-in-races.js';
import * as requests from './requests.js';

export const scenarios: readonly Scenario[] = [
  races.faultMigrateUnmap,
  races.faultFaultDiscard,
  races.swapRemap,
  memory.superpage,
  memory.superpageDomains,
  control.enableFault,
  control.enableLate,
  control.enableDisable,
  control.enableForeign,
  control.disableFault,
  control.disableFails,
  control.attachFault,
  control.attachFails,
  control.detachFault,
  control.closeFault,
  control.attachTwo,
  control.lastLeaves,
  memory.protectFault,
  memory.forkWrite,
  memory.premapDiscard,
  memory.pinnedMigrate,
  memory.pinFails,
  memory.twoProcesses,
  memory.aliases,
  memory.pressure,
  memory.thrash,
  dirtyLog.dirtyStart,
  dirtyLog.dirtyReport,
  dirtyLog.dirtyDisable,
  dirtyLog.dirtySwap,
  requests.groupRequest,
  requests.fullQueue,
  requests.unaskedLevel,
  devices.resetFault,
  devices.resetDetach,
  devices.selective,
  devices.nestedGuest,
  devices.nestedReset,
  pins.pinUnmap,
  pins.pinFault,
  pins.pinTwice,
  pins.pinDisable,
  pins.pinDisableFails,
  pins.pinAttach,
  pins.pinClose,
  pins.pinDirty,
  stages.stage1Fault,
  stages.stage1Revoke,
  stages.stage1Detach,
  stages.stage1Again,
  stages.stage1Leaves,
  stages.stage1Disable,
];
