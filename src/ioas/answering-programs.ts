/** Programs that answer page requests of a space's devices, its guests among them. */
import { fail } from '../abi/errno.js';
import type { Flow } from '../flow/flow.js';
import type { IommuDevice } from '../iommu/device.js';
import { type DeviceFaultHandler, FaultReport } from '../iommu/page-request.js';

export class AnsweringPrograms {
  private readonly programs = new Map<IommuDevice, DeviceFaultHandler>();

  /** A device that has come asks a program, and nobody else. */
  begin(device: IommuDevice, program: DeviceFaultHandler): void {
    device.handlers.register(program, device.nested ? FaultReport.STAGE2 : FaultReport.FLAT);
    device.enableIopf();
    this.programs.set(device, program);
  }

  /** A device's page requests are switched on, and its handlers set, by somebody else. */
  note(device: IommuDevice, program: DeviceFaultHandler): void {
    this.programs.set(device, program);
  }

  /** See `note`, of one that goes. */
  forget(device: IommuDevice): void {
    this.programs.delete(device);
  }

  /**
   * Devices with a first stage of a guest's ask it, whoever brings what the space maps (kernel: a
   * page table's fault queue is not its parent's).
   */
  askGuests(devices: readonly IommuDevice[]): void {
    for (const device of devices) {
      const guest = device.stage1?.queue ?? null;
      if (guest === null || device.iopfEnabled) continue;
      device.enableIopf();
      this.programs.set(device, guest);
    }
  }

  /** Guests are asked no more, until `askGuests`; their queues stay with their first stages. */
  *leaveGuests(): Flow<void> {
    for (const [device, program] of this.programs)
      if (program === device.stage1?.queue) yield* this.silence(device);
  }

  /** What a program has not answered is INVALID, and it is asked no more. */
  *leave(device: IommuDevice): Flow<void> {
    const program = this.programs.get(device);
    if (program === undefined) return;
    yield* this.silence(device);
    // Of a first stage it has gone with that.
    if (device.handlers.has(program)) device.handlers.unregister(program);
  }

  private *silence(device: IommuDevice): Flow<void> {
    this.programs.delete(device);
    device.disableIopf();
    yield* device.drain();
  }
}

/** ENODEV: a device cannot wait for one of those who would answer it. */
export function checkCanWait(
  devices: readonly IommuDevice[],
  ...handlers: readonly (DeviceFaultHandler | null)[]
): void {
  for (const handler of handlers)
    if (handler !== null && !devices.every((each) => each.canWaitFor(handler))) fail('ENODEV');
}
