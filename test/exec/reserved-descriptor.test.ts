import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { O_CLOEXEC } from '../../src/abi/linux.js';
import { architecture } from '../../src/exec/arch/index.js';
import { launch } from '../../src/exec/run/launch.js';
import { buildFilter } from '../../src/exec/seccomp/filter.js';
import { close, eventfd } from '../../src/mm/process/libc.js';
import { window } from './programs/reserve-ioctl.js';
import { program } from './run-iopf.js';

test('a reserved descriptor is there when the call returns, whole, or never', async () => {
  const arch = architecture(process.arch)!;
  const folder = mkdtempSync(join(tmpdir(), 'test-reserved-'));
  const output = join(folder, 'output');
  const signalFd = eventfd(0, O_CLOEXEC);
  const launched = launch(arch, {
    file: '/bin/sh',
    argv: ['sh', '-c', 'exec "$0" "$1" >"$2"', process.execPath, program('reserve'), output],
    filter: buildFilter(arch, window),
    inherit: [0, 1, 2],
    descriptorLimit: { soft: 1024, hard: 1024 },
  });
  const engine = new Worker(program('reserving-engine'), { workerData: { launched, signalFd } });
  const [{ end, ...files }] = await once(engine, 'message');
  const text = readFileSync(output, 'utf8');
  rmSync(folder, { recursive: true });
  for (const fd of [launched.reportFd, signalFd]) close(fd);
  expect(end).toEqual({ exitCode: 0, signal: null });
  const [first, second] = [`${window.first} `, `${window.first + 1} `].map(
    (number) => `${number}/dev/vfio/vfio`,
  );
  expect(JSON.parse(text)).toEqual({
    fd: window.first,
    cancelled: { result: 7, number: window.first + 1 },
    afterCancel: [first],
    fault: 'EFAULT',
    afterFault: [first],
    installed: { result: 7, number: window.first + 1 },
    afterInstall: [first, second],
    throughTheNewOne: { result: 7, number: window.first + 2 },
    aside: { result: window.first + 4, number: window.first + 3 },
    last: { result: 7, number: window.end - 1 },
    tooMany: 'EMFILE',
  });
  // Eight were in the window; one was cancelled, one faulted, one found no number.
  expect(files).toEqual({ opened: 11, released: 11 });
});
