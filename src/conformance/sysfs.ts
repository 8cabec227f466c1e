/** The sysfs files that recordings touch: driver binding and module parameters. */
import { fail } from '../abi/errno.js';
import type { RecordedMachine } from './machine.js';

const BIND = /^\/sys\/bus\/pci\/drivers\/([\w-]+)\/bind$/;
const DRIVER_UNBIND = /^\/sys\/bus\/pci\/drivers\/([\w-]+)\/unbind$/;
const UNBIND = /^\/sys\/bus\/pci\/devices\/([\w:.]+)\/driver\/unbind$/;
const PARAMETER = /^\/sys\/module\/vfio_iommu_type1\/parameters\/(\w+)$/;
const OVERRIDE = /^\/sys\/bus\/pci\/devices\/([\w:.]+)\/driver_override$/;

export function sysfsWrite(recorded: RecordedMachine, path: string, value: string): void {
  const { machine } = recorded;
  const driver = BIND.exec(path)?.[1];
  // A function without a group: vfio-pci's probe fails.
  if (driver === 'vfio-pci' && !recorded.hasIommu) fail('EINVAL');
  if (driver) {
    const isVfio = driver === 'vfio-pci';
    machine.bind(groupOf(recorded, value), value, isVfio ? 'vfio-pci' : 'host');
    if (!isVfio) recorded.hostDriven.add(value);
    return;
  }
  if (UNBIND.test(path)) {
    machine.bind(groupOf(recorded, value), value, null);
    return;
  }
  if (DRIVER_UNBIND.test(path)) {
    if (!recorded.hostDriven.delete(value)) fail('ENODEV');
    machine.bind(groupOf(recorded, value), value, null);
    return;
  }
  const parameter = PARAMETER.exec(path)?.[1] ?? fail('ENOENT');
  switch (parameter) {
    case 'allow_unsafe_interrupts': {
      const allow = /^[1yY]/.test(value);
      machine.allowUnsafeInterrupts(allow);
      recorded.parameters.set(parameter, allow ? 'Y' : 'N');
      break;
    }
    case 'dma_entry_limit':
      machine.limitDmaEntries(Number(value));
      recorded.parameters.set(parameter, value);
      break;
    default:
      fail('ENOENT');
  }
}

/**
 * What the recording's set-up wrote there: the function that has a host driver names it, the others
 * vfio-pci.
 */
export function sysfsRead(recorded: RecordedMachine, path: string): string {
  const parameter = PARAMETER.exec(path)?.[1];
  if (parameter) return recorded.parameters.get(parameter) ?? fail('ENOENT');
  const address = OVERRIDE.exec(path)?.[1] ?? fail('ENOENT');
  if (address !== recorded.vars['h4']) return 'vfio-pci';
  return recorded.isOfIommufd ? '(null)' : 'e1000';
}

/** d2a, d2b and g2 belong together, h4 and g4 too. */
function groupOf(recorded: RecordedMachine, address: string): number {
  const name = Object.keys(recorded.vars).find(
    (key) => recorded.vars[key] === address && !key.startsWith('g'),
  );
  return Number(recorded.vars[`g${name?.charAt(1)}`] ?? fail('ENODEV'));
}
