/** Runs a program's calls on the engine, as a process would make them. */
import { errnoName, VfioError } from '../../../src/abi/errno.js';
import { IommufdIoctl } from '../../../src/abi/iommufd.js';
import * as structs from '../../../src/abi/iommufd-structs.js';
import { readStruct, type StructLayout, writeStruct } from '../../../src/abi/layout.js';
import { CdevIoctl } from '../../../src/abi/vfio.js';
import {
  DeviceAttachIommufdPt,
  DeviceBindIommufd,
  DeviceDetachIommufdPt,
} from '../../../src/abi/vfio-structs.js';
import type { Process } from '../../../src/conformance/process.js';
import { silentFunction } from '../../../src/device/silent-function.js';
import type { VfioFile } from '../../../src/file/file.js';
import { IommuDevice } from '../../../src/iommu/device.js';
import { Counters } from '../../../src/iommu/observer.js';
import { READ, WRITE } from '../../../src/mm/address-space.js';
import { SimulatedMemory } from '../../../src/mm/simulated-memory.js';
import { createMachine } from '../../../src/vfio/machine.js';
import { ARGUMENTS, modelProcess, PAGE } from '../../model-process.js';
import type { Call, Outcome } from './program.js';

const RANGES = ARGUMENTS + 0x800;
const ADDRESS = '0000:00:01.0';
const FIXED = 1;

export class Engine {
  readonly memory = new SimulatedMemory();
  readonly counters = new Counters();
  readonly iommu = new IommuDevice({ address: ADDRESS });
  readonly process: Process;
  private readonly iommufd: VfioFile;
  private readonly device: VfioFile;

  constructor() {
    const machine = createMachine({
      kernel: '7.2',
      iopf: 'off',
      counters: this.counters,
      groups: [{ number: 1, functions: [silentFunction(this.iommu)] }],
    });
    this.process = modelProcess(this.memory);
    this.iommufd = machine.openIommufd();
    const fd = this.process.install(this.iommufd);
    this.device = machine.openDevice(ADDRESS);
    this.process.install(this.device);
    const { size } = DeviceBindIommufd;
    this.call(this.device, CdevIoctl.VFIO_DEVICE_BIND_IOMMUFD, DeviceBindIommufd, {
      argsz: size,
      iommufd: fd,
    });
  }

  run(call: Call): Outcome {
    try {
      return { errno: null, value: this.carryOut(call) };
    } catch (error) {
      if (!(error instanceof VfioError)) throw error;
      return { errno: errnoName(error.errno), value: 0n };
    }
  }

  private carryOut(call: Call): bigint {
    switch (call.op) {
      case 'alloc':
        return this.ask(IommufdIoctl.IOMMU_IOAS_ALLOC, structs.IoasAlloc, {}, 'out_ioas_id');
      case 'destroy':
        this.ask(IommufdIoctl.IOMMU_DESTROY, structs.Destroy, { id: call.id }, 'size');
        return 0n;
      case 'map': {
        const values = {
          flags: flagsOf(call.permission) | (call.iova === null ? 0 : FIXED),
          ioas_id: call.id,
          user_va: call.address,
          length: call.length,
          iova: call.iova ?? 0n,
        };
        return this.ask(IommufdIoctl.IOMMU_IOAS_MAP, structs.IoasMap, values, 'iova');
      }
      case 'unmap': {
        const { id, iova, length } = call;
        const values = { ioas_id: id, iova, length };
        return this.ask(IommufdIoctl.IOMMU_IOAS_UNMAP, structs.IoasUnmap, values, 'length');
      }
      case 'copy': {
        const values = {
          flags: flagsOf(call.permission) | (call.iova === null ? 0 : FIXED),
          dst_ioas_id: call.to,
          src_ioas_id: call.from,
          length: call.length,
          dst_iova: call.iova ?? 0n,
          src_iova: call.source,
        };
        return this.ask(IommufdIoctl.IOMMU_IOAS_COPY, structs.IoasCopy, values, 'dst_iova');
      }
      case 'attach': {
        const layout = DeviceAttachIommufdPt;
        const values = { argsz: layout.end.pt_id, pt_id: call.id };
        const request = CdevIoctl.VFIO_DEVICE_ATTACH_IOMMUFD_PT;
        return BigInt(this.call(this.device, request, layout, values)['pt_id']!);
      }
      case 'detach': {
        const layout = DeviceDetachIommufdPt;
        const request = CdevIoctl.VFIO_DEVICE_DETACH_IOMMUFD_PT;
        this.call(this.device, request, layout, { argsz: layout.end.flags });
        return 0n;
      }
      case 'hugePages': {
        const values = { option_id: 1, object_id: call.id, val64: call.on ? 1n : 0n };
        this.ask(IommufdIoctl.IOMMU_OPTION, structs.Option, values, 'size');
        return 0n;
      }
      case 'allow': {
        const range = { start: call.first, last: call.first + call.pages * PAGE - 1n };
        const bytes = writeStruct(structs.IovaRangeStruct, range);
        this.process.mm.copyTo(RANGES, bytes);
        const values = {
          ioas_id: call.id,
          num_iovas: call.pages === 0n ? 0 : 1,
          allowed_iovas: BigInt(RANGES),
        };
        const request = IommufdIoctl.IOMMU_IOAS_ALLOW_IOVAS;
        this.ask(request, structs.IoasAllowIovas, values, 'size');
        return 0n;
      }
    }
  }

  private ask<N extends string>(
    request: number,
    layout: StructLayout<N>,
    values: Partial<Record<NoInfer<N>, number | bigint>>,
    answer: NoInfer<N>,
  ): bigint {
    const whole = { ...values, size: layout.size } as typeof values;
    return BigInt(this.call(this.iommufd, request, layout, whole)[answer]!);
  }

  private call<N extends string>(
    file: VfioFile,
    request: number,
    layout: StructLayout<N>,
    values: Partial<Record<N, number | bigint>>,
  ): Partial<Record<N, number | bigint>> {
    const { mm } = this.process;
    mm.copyTo(ARGUMENTS, writeStruct(layout, values));
    file.ioctl(this.process, request, ARGUMENTS);
    const bytes = new Uint8Array(layout.size);
    mm.copyFrom(ARGUMENTS, bytes);
    return readStruct(layout, bytes);
  }
}

/** IOMMU_IOAS_MAP_WRITEABLE 2, READABLE 4. */
function flagsOf(permission: number): number {
  return ((permission & WRITE) === 0 ? 0 : 2) | ((permission & READ) === 0 ? 0 : 4);
}
