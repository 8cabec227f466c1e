/**
 * Chrome's trace event format, which Perfetto opens: page requests as spans, maps and unmaps as
 * instants. The array form may lack its end: a run that was killed can be opened, too.
 */
import { PAGE_SIZE } from '../mm/address-space.js';
import type { TracedTask, TraceFormat } from './trace-file.js';

/** `nowUs`: the clock of the events. */
export function chromeTrace(nowUs: () => number, task: () => TracedTask): TraceFormat {
  const hex = (page: number): string => `0x${(page * PAGE_SIZE).toString(16)}`;
  let first = true;
  return {
    begin: '[\n',
    end: '\n]\n',
    observer(put) {
      const event = (fields: Record<string, unknown>): void => {
        const { pid, name } = task();
        if (first)
          put(JSON.stringify({ name: 'process_name', ph: 'M', pid, tid: pid, args: { name } }));
        first = false;
        put(`,\n${JSON.stringify({ pid, tid: pid, ts: nowUs(), ...fields })}`);
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
        faultMade: (rule) => instant('injected', { rule }),
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
