/** The kernel's own VFIO selftests on our devices: vfio-selftests.yaml says what a kernel gives. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { available, moreIsAsked } from '../skip.js';
import { edu, nvme, repository, runIopf } from './run-iopf.js';

const folder = process.env['IOPF_SELFTESTS'] ?? '';
const canRun = available(
  folder !== '',
  "the kernel's VFIO selftests",
  'IOPF_SELFTESTS names no folder that scripts/vfio-selftests.sh has filled',
);

type Result = 'ok' | 'not ok';
const programs = parse(
  readFileSync(join(repository, 'test/exec/vfio-selftests.yaml'), 'utf8'),
) as Record<string, Record<string, Result | Record<string, Result>>>;

/** What is written down for a kernel. */
function expectedOn(kernel: string): Record<string, Result> {
  const results = Object.values(programs).flatMap((program) => Object.entries(program));
  return Object.fromEntries(
    results.flatMap(([name, result]) => {
      const here = typeof result === 'string' ? result : result[kernel];
      return here === undefined ? [] : [[name, here]];
    }),
  );
}

const line = /^(ok|not ok) \d+ ([\w.]+)/gm;

const what = 'the kernel’s VFIO selftests give what a real kernel gives:';
describe.skipIf(!canRun)(what, { timeout: 60_000 }, () => {
  test.each([
    ['edu', edu, '7.2'],
    ['edu', edu, '6.12'],
    ['edu', edu, '6.1'],
    ['nvme', nvme, '7.2'],
    ['virtio-net', '0000:03:00.0', '7.2'],
  ])('%s at %s, Linux %s', async (kind, address, kernel) => {
    const options = ['--kernel', kernel, '--device', `${kind}@${address}`];
    const script = Object.keys(programs).map((name) => `"$0"/${name} ${address}`);
    const { stdout, stderr } = await runIopf(options, ['sh', '-c', script.join('; '), folder]);
    const results = [...`${stdout}${stderr}`.matchAll(line)];
    const given = Object.fromEntries(results.map(([, result, name]) => [name!, result]));
    expect(given, stdout).toMatchObject(expectedOn(kernel));
  });

  const onIgb = moreIsAsked("the kernel's VFIO selftests on an igb");
  test.skipIf(!onIgb)(
    'an igb passes all of the driver’s tests and of the device’s',
    {
      timeout: 120_000,
    },
    async () => {
      const address = '0000:01:00.0';
      // They mostly sleep while the link comes up.
      const kernels = ['7.2', '6.12', '6.1'];
      const each = kernels.flatMap((kernel) => [
        [kernel, 'vfio_type1_iommu'],
        [kernel, 'vfio_type1v2_iommu'],
      ]);
      const runs = each.map(async ([kernel, mode]) => {
        const script = `"$0"/vfio_pci_driver_test -v ${mode} ${address}; "$0"/vfio_pci_device_test ${address}`;
        const options = ['--kernel', kernel!, '--device', `igb@${address}`];
        return await runIopf(options, ['sh', '-c', script, folder]);
      });
      for (const { stdout } of await Promise.all(runs)) {
        const results = [...stdout.matchAll(line)].map(([, result]) => result);
        expect(results, stdout).toEqual(Array(12).fill('ok'));
      }
    },
  );
});
