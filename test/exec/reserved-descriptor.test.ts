import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { architecture } from '../../src/exec/arch/index.js';
import { makeSocketPair } from '../../src/exec/run/descriptor-message.js';
import type { LaunchRequest } from '../../src/exec/run/launcher.js';
import { buildFilter } from '../../src/exec/seccomp/filter.js';
import { close, eventfd, O_CLOEXEC } from '../../src/mm/process/libc.js';
import { window } from './programs/reserve-ioctl.js';
import { program, repository } from './run-iopf.js';

test('a reserved descriptor is there when the call returns, whole, or never', async () => {
  const arch = architecture(process.arch)!;
  const [reportFd, reportEnd] = makeSocketPair();
  const stopFd = eventfd(0, O_CLOEXEC);
  const launch: LaunchRequest = {
    file: process.execPath,
    filter: Buffer.from(buildFilter(arch, window)).toString('base64'),
    seccompNumber: arch.nr.seccomp,
    reportFd: 3,
    inherit: [0, 1, 2],
    statusFlags: [],
    descriptorLimit: { soft: 1024, hard: 1024 },
  };
  const launcher = join(repository, 'dist/src/exec/run/launcher.js');
  const child = spawn(
    process.execPath,
    [launcher, JSON.stringify(launch), 'node', program('reserve')],
    { stdio: ['ignore', 'pipe', 'inherit', reportEnd] },
  );
  close(reportEnd);
  const engine = new Worker(program('reserving-engine'), { workerData: { reportFd, stopFd } });
  const served = once(engine, 'message');
  let text = '';
  child.stdout!.on('data', (piece) => {
    text += piece;
  });
  await once(child, 'close');
  const [files] = await served;
  for (const fd of [reportFd, stopFd]) close(fd);
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
