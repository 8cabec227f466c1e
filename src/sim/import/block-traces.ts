/** Traces of disks: fio's I/O logs, text of blkparse, MSR Cambridge's CSV. */
import { type DiskCommand, type Imported, throughPageCache } from './imported.js';
import type { Line, SourceText } from './text.js';

const SECTOR_BYTES = 512;
const COMMAND_MOST_BYTES = 2 ** 30;

function checked(source: SourceText, line: Line, command: DiskCommand): DiskCommand {
  if (!(command.bytes > 0 && command.bytes <= COMMAND_MOST_BYTES))
    throw source.error(line, `a command of ${command.bytes} bytes; 1 to ${COMMAND_MOST_BYTES}`);
  return command;
}

/** fio(1), `write_iolog`: version 2 has no times but waits, version 3 a time in each line. */
export function fioLog(source: SourceText, cacheBytes: number): Imported {
  const [head, ...rest] = source.lines;
  const version = /^fio version (\d+) iolog/.exec(head!.text)?.[1];
  if (version !== '2' && version !== '3')
    throw source.error(head!, 'an I/O log of fio of version 2 or 3 is needed');
  const commands: DiskCommand[] = [];
  let now = 0;
  for (const line of rest) {
    const words = line.text.trim().split(/\s+/);
    if (version === '3') now = source.amount(line, 'the time', words.shift());
    const [disk, action, offset, length] = words;
    switch (action) {
      case 'read':
      case 'write':
        commands.push(
          checked(source, line, {
            time: now,
            disk: disk!,
            offset: source.amount(line, 'the offset', offset),
            bytes: source.amount(line, 'the length', length),
            isRead: action === 'read',
          }),
        );
        break;
      case 'wait':
        if (version === '3') throw source.error(line, 'version 3 has no "wait"');
        now += source.amount(line, 'the wait', offset);
        break;
      case 'add':
      case 'open':
      case 'close':
      case 'sync':
      case 'datasync':
      case 'trim':
        break;
      default:
        throw source.error(line, `unknown action "${action ?? ''}"`);
    }
  }
  const { assumptions, ...imported } = throughPageCache(
    `an I/O log of fio, version ${version}`,
    commands,
    cacheBytes,
  );
  const times =
    version === '2'
      ? 'between commands only "wait" lines take time'
      : 'times are when fio issued a command, in microseconds';
  return { ...imported, assumptions: [...assumptions, times] };
}

const BLKPARSE =
  /^\s*(\d+,\d+)\s+\d+\s+\d+\s+(\d+\.\d+)\s+\d+\s+([A-Z]{1,2})\s+([A-Z]+)\s*(?:(\d+) \+ (\d+))?/;

/** blkparse(1), its default format; what was issued to the driver (D), else what was queued (Q). */
export function blkparseText(source: SourceText, cacheBytes: number): Imported {
  const byAction: Record<'D' | 'Q', DiskCommand[]> = { D: [], Q: [] };
  for (const line of source.lines) {
    // The summary behind the events: "CPU0 (8,0):", "Total (8,0):".
    if (/^(CPU\d+|Total) \(/.test(line.text)) break;
    const [, disk, time, action, kinds, sector, sectors] = BLKPARSE.exec(line.text) ?? [];
    if (disk === undefined)
      throw source.error(
        line,
        'an event of blkparse is needed: "8,0 3 1 0.000000000 697 D R 0 + 8"',
      );
    if (action !== 'D' && action !== 'Q') continue;
    // Flushes and discards move no data.
    if (sectors === undefined || sectors === '0' || !/[RW]/.test(kinds!) || kinds!.includes('D'))
      continue;
    byAction[action].push(
      checked(source, line, {
        time: Number(time) * 1e6,
        disk,
        offset: Number(sector) * SECTOR_BYTES,
        bytes: Number(sectors) * SECTOR_BYTES,
        isRead: kinds!.includes('R'),
      }),
    );
  }
  const issued = byAction.D.length > 0;
  const { assumptions, ...imported } = throughPageCache(
    'text of blkparse',
    issued ? byAction.D : byAction.Q,
    cacheBytes,
  );
  const which = issued
    ? 'a command reaches memory when it is issued to the driver (D)'
    : 'no command is issued (D) in the file: a command reaches memory when it is queued (Q)';
  return { ...imported, assumptions: [...assumptions, which] };
}

const FILETIME_PER_US = 10n;

/** MSR Cambridge (SNIA): time in 100 ns, host, disk, type, offset, size, response time. */
export function msrCambridge(source: SourceText, cacheBytes: number): Imported {
  let start: bigint | null = null;
  const commands = source.lines.map((line): DiskCommand => {
    const fields = line.text.split(',');
    const [time, host, disk, type, offset, size] = fields;
    if (fields.length !== 7) throw source.error(line, `${fields.length} fields; 7 are needed`);
    if (!/^\d+$/.test(time!)) throw source.error(line, `the time must be a number, not "${time}"`);
    if (type !== 'Read' && type !== 'Write')
      throw source.error(line, `the type must be Read or Write, not "${type}"`);
    const ticks = BigInt(time!);
    start ??= ticks;
    return checked(source, line, {
      time: Number((ticks - start) / FILETIME_PER_US),
      disk: `${host}.${disk}`,
      offset: source.amount(line, 'the offset', offset),
      bytes: source.amount(line, 'the size', size),
      isRead: type === 'Read',
    });
  });
  return throughPageCache('a block trace in CSV (MSR Cambridge)', commands, cacheBytes);
}
