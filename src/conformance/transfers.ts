/** read(2), write(2) and poll(2) of a replayed process, on VFIO's files and on others. */
import { fail } from '../abi/errno.js';
import { READ, WRITE } from '../mm/address-space.js';
import { isStream } from './calls.js';
import { readPlain, writePlain } from './plain-file.js';
import { EventFile, isVfio, type Process } from './process.js';
import { bytesHex, hexBytes, type Success, type VectorStep } from './vectors.js';

/**
 * `read` goes on where the last one ended, `pread` leaves that where it is. The buffer ends at
 * `end`.
 */
export function readFile(process: Process, fd: number, step: VectorStep, end: number): Success {
  const open = process.getFor(READ, fd);
  const { what } = open;
  const size = step.size!;
  if (!isVfio(what)) {
    const bytes = readPlain(open, step.op === 'pread' ? Number(step.offset) : null, size);
    return { ret: bytes.length, out: bytesHex(bytes) };
  }
  if (isStream(what) && step.op === 'pread') fail('ESPIPE');
  const address = end - Math.max(size, 1);
  const offset = step.op === 'pread' ? Number(step.offset) : open.position;
  const ret = what.read(process, address, size, offset);
  if (step.op === 'read' && !isStream(what)) open.position += ret;
  const bytes = new Uint8Array(ret);
  process.mm.copyFrom(address, bytes);
  return { ret, out: bytesHex(bytes) };
}

/** `write` and `pwrite`: see `readFile`. */
export function writeFile(process: Process, fd: number, step: VectorStep, end: number): Success {
  const open = process.getFor(WRITE, fd);
  const { what } = open;
  const bytes = hexBytes(step.in!);
  if (!isVfio(what))
    return { ret: writePlain(open, step.op === 'pwrite' ? Number(step.offset) : null, bytes) };
  if (isStream(what) && step.op === 'pwrite') fail('ESPIPE');
  const address = end - Math.max(bytes.length, 1);
  process.mm.copyTo(address, bytes);
  const offset = step.op === 'pwrite' ? Number(step.offset) : open.position;
  const ret = what.write(process, address, bytes.length, offset);
  if (step.op === 'write' && !isStream(what)) open.position += ret;
  return { ret };
}

/** read(2) or write(2) with a buffer at an address of the case's own. */
export function transferAt(process: Process, fd: number, step: VectorStep): Success {
  const { what } = process.get(fd);
  if (!isVfio(what)) return fail('EINVAL');
  const call = step.op === 'readAt' ? what.read : what.write;
  return { ret: call.call(what, process, Number(step.addr), step.size!, 0) };
}

/** POLLIN and POLLOUT were asked for; a VFIO file is always ready. */
export function pollFile(process: Process, fd: number): Success {
  // poll(2) passes over what is no descriptor.
  if (fd < 0) return { ret: 0, out: '0000' };
  const { what, readable: isReadable } = process.get(fd);
  const readable = isReadable && (!(what instanceof EventFile) || what.count > 0);
  const writable = !isVfio(what) || what.isReadOnly !== true;
  const events = (readable ? 1 : 0) | (writable ? 4 : 0);
  return { ret: events === 0 ? 0 : 1, out: `0${events}00` };
}
