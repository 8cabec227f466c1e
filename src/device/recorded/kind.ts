import type { DeviceKind } from '../kind.js';
import { DeviceOptions, OptionError } from '../options.js';
import { recordedFunction } from './function.js';

const options = { file: 'YAML file with its config space, regions, interrupts and registers' };

/** A device without behaviour, for `--device recorded@BDF,file=…`. */
export const recorded: DeviceKind = {
  name: 'recorded',
  summary: 'config space and registers of a device that nobody has modelled, and no behaviour',
  options,
  create(given, { address, iommu, host }) {
    const path = new DeviceOptions('recorded', options, given).text('file');
    if (path === undefined) throw new OptionError('device recorded needs file=PATH');
    if (host.openModel === undefined)
      throw new OptionError('device recorded: this run has no files');
    return recordedFunction(host.openModel(path), address, iommu, host.traps);
  },
};
