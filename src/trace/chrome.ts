/**
 * Chrome's trace event format, which Perfetto opens: page requests as spans, maps and unmaps as
 * instants.
 */
import { PAGE_SIZE } from '../mm/address-space.js';
import type { TraceFormat } from './trace-file.js';

/** `now` is the clock in microseconds. */
export function chromeTrace(now: () => number): TraceFormat {
  const hex = (page: number): string => `0x${(page * PAGE_SIZE).toString(16)}`;
  let first = true;
  return {
    begin: '{"displayTimeUnit":"ns","traceEvents":[\n',
    end: '\n]}\n',
    observer(put) {
      const event = (fields: Record<string, unknown>): void => {
        put(`${first ? '' : ',\n'}${JSON.stringify({ pid: 1, tid: 1, ts: now(), ...fields })}`);
        first = false;
      };
      const instant = (name: string, args: Record<string, unknown>): void =>
        event({ name, ph: 'i', s: 't', args });
      return {
        map: (iovaPage, frame, count) =>
          instant('map', { iova: hex(iovaPage), paddr: hex(frame), size: count * PAGE_SIZE }),
        unmap: (iovaPage, count, removed) =>
          instant('unmap', {
            iova: hex(iovaPage),
            size: count * PAGE_SIZE,
            unmapped: removed * PAGE_SIZE,
          }),
        // What the program does itself shows as its unmaps; reclaim has no other mark.
        invalidate: (space, first, count, removed, reclaimed) => {
          if (reclaimed)
            instant('reclaim', {
              space,
              vaddr: hex(first),
              size: count * PAGE_SIZE,
              removed: removed * PAGE_SIZE,
            });
        },
        pageRequest: (device, iovaPage, access, pasid, group, last) =>
          event({
            name: 'page request',
            cat: device.address,
            ph: 'b',
            id: `${device.address}/${pasid}/${group}`,
            args: { iova: hex(iovaPage), access, pasid, group, last },
          }),
        pageResponse: (device, pasid, group, code) =>
          event({
            name: 'page request',
            cat: device.address,
            ph: 'e',
            id: `${device.address}/${pasid}/${group}`,
            args: { code },
          }),
      };
    },
  };
}
