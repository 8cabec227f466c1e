/**
 * The interface of iommufd's own tests: a mock IOMMU with its devices, page tables and virtual
 * IOMMUs, uses of memory by the CPU, and questions about all that (kernel: selftest.c,
 * CONFIG_IOMMUFD_TEST). The face of this folder.
 */
import { IommufdIoctl } from '../../abi/iommufd.js';
import {
  HwQueueAlloc,
  VdeviceAlloc,
  VeventqAlloc,
  ViommuAlloc,
} from '../../abi/iommufd-structs.js';
import { IOMMU_TEST_CMD, IOMMUFD_CMD_TEST, TestCmd } from '../../abi/iommufd-test.js';
import { type Operation, operation, type TestInterface } from '../call.js';
import { hwQueueAlloc } from './hw-queue.js';
import { testCmd } from './test-cmd.js';
import { veventqAlloc } from './vevent-queue.js';
import { vdeviceAlloc, viommuAlloc } from './viommu.js';

export function createTestInterface(): TestInterface {
  const operations: ReadonlyMap<number, Operation> = new Map([
    [IOMMU_TEST_CMD, operation(TestCmd, testCmd, TestCmd.end.last)],
    [
      IommufdIoctl.IOMMU_VIOMMU_ALLOC,
      operation(ViommuAlloc, viommuAlloc, ViommuAlloc.end.out_viommu_id),
    ],
    [IommufdIoctl.IOMMU_VDEVICE_ALLOC, operation(VdeviceAlloc, vdeviceAlloc)],
    [IommufdIoctl.IOMMU_VEVENTQ_ALLOC, operation(VeventqAlloc, veventqAlloc)],
    [IommufdIoctl.IOMMU_HW_QUEUE_ALLOC, operation(HwQueueAlloc, hwQueueAlloc)],
  ]);
  return { last: IOMMUFD_CMD_TEST, operations };
}
