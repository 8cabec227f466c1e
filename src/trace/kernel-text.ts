/**
 * Trace lines in the kernel's texts (trace/events/iommu.h), in the form of ftrace's file `trace`
 * without interrupt flags: task, CPU, seconds, event. There is one engine, so the CPU is always 0.
 */
import { basename } from 'node:path';
import { printable } from '../input/printable.js';
import { PAGE_SIZE } from '../mm/address-space.js';
import type { TracedTask, TraceFormat } from './trace-file.js';

const FAULT_PAGE_REQUEST = 2;
const FLAG_PASID_VALID = 1;
const FLAG_LAST_PAGE = 2;

/** What readers of such files know them by. */
const HEADER = `# tracer: nop
#
#           TASK-PID     CPU#     TIMESTAMP  FUNCTION
#              | |         |         |         |
`;
/** As in struct task_struct: more is cut off. */
const COMM_LENGTH = 15;

/** `nowUs`: the clock of the events. */
export function kernelTrace(nowUs: () => number, task: () => TracedTask): TraceFormat {
  const address = (page: number): string =>
    `0x${(page * PAGE_SIZE).toString(16).padStart(16, '0')}`;
  const before = (): string => {
    const { name, pid } = task();
    const comm = printable(basename(name)).slice(0, COMM_LENGTH).padStart(16);
    const seconds = (nowUs() / 1e6).toFixed(6).padStart(12);
    return `${comm}-${String(pid).padEnd(7)} [000] ${seconds}: `;
  };
  return {
    begin: HEADER,
    end: '',
    observer: (write) => {
      const put = (event: string): void => write(`${before()}${event}\n`);
      return {
        map(iovaPage, frame, count) {
          put(
            `map: IOMMU: iova=${address(iovaPage)} - ${address(iovaPage + count)} paddr=${address(frame)} size=${count * PAGE_SIZE}`,
          );
        },
        unmap(iovaPage, count, removed) {
          put(
            `unmap: IOMMU: iova=${address(iovaPage)} - ${address(iovaPage + count)} size=${count * PAGE_SIZE} unmapped_size=${removed * PAGE_SIZE}`,
          );
        },
        // As what a program writes to trace_marker.
        faultMade(rule) {
          put(`tracing_mark_write: iopf: injected ${printable(rule)}`);
        },
        pageRequest(device, iovaPage, access, pasid, group, last) {
          const flags = (pasid >= 0 ? FLAG_PASID_VALID : 0) | (last ? FLAG_LAST_PAGE : 0);
          put(
            `dev_fault: IOMMU:${device.address} type=${FAULT_PAGE_REQUEST} reason=0 addr=${address(iovaPage)} pasid=${Math.max(pasid, 0)} group=${group} flags=${flags} prot=${access}`,
          );
        },
        pageResponse(device, pasid, group, code) {
          put(
            `dev_page_response: IOMMU:${device.address} code=${code} pasid=${Math.max(pasid, 0)} group=${group}`,
          );
        },
      };
    },
  };
}
