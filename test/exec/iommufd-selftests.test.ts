/** The kernel's own iommufd selftests (tools/testing/selftests/iommu of Linux 7.2). */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { available, moreIsAsked } from '../skip.js';
import { runIopf } from './run-iopf.js';

const program = join(process.env['IOPF_SELFTESTS'] ?? '', 'iommufd');
const WHAT = "the kernel's iommufd selftests";
const canRun =
  moreIsAsked(WHAT) &&
  available(
    process.env['IOPF_SELFTESTS'] !== undefined && existsSync(program),
    WHAT,
    'IOPF_SELFTESTS names no folder that scripts/iommufd-selftests.sh has filled',
  );

const CAP_SYS_RESOURCE = 24;
const capabilities = /^CapEff:\s+(\w+)/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]!;
const mayRaiseLimits = ((BigInt(`0x${capabilities}`) >> BigInt(CAP_SYS_RESOURCE)) & 1n) === 1n;
const memory = readFileSync('/proc/meminfo', 'utf8');
/** 128 MiB at once. */
const hasHugePages = Number(/^HugePages_Free:\s+(\d+)/m.exec(memory)?.[1] ?? 0) >= 64;

/** Tests that do not pass here, on any host (docs/conformance.md). */
const differs = [
  'iommufd_ioas.mock_domain.fork_gone',
  'iommufd_ioas.two_mock_domain.fork_gone',
  'iommufd_ioas.mock_domain_limit.fork_gone',
  'iommufd_viommu.mock_viommu.viommu_alloc_with_data',
];
const needsLimits = /^iommufd\.global_options$|^change_process\.account_(user|mm)\.basic$/;
const needsHugePages = /huge|access_domain_destory/;
/** Tables of 64 and 128 MiB, which take longer than all the rest. */
const EXCLUDED = ['domain_dirty64M', 'domain_dirty128M'];

test.skipIf(!canRun)(
  'all of the kernel’s iommufd selftests pass, but for those that are listed',
  async () => {
    const options = ['--iopf', 'off', '--kernel', '7.2', '--iommufd-test'];
    const device = ['--device', 'edu@0000:00:04.0'];
    const variants = EXCLUDED.flatMap((each) => ['-V', each]);
    const { stdout } = await runIopf([...options, ...device], [program, ...variants]);
    const results = [...stdout.matchAll(/^(ok|not ok) \d+ ([\w.]+)/gm)];
    const lacks = (name: string): boolean => {
      if (needsLimits.test(name))
        return !available(mayRaiseLimits, name, 'it needs CAP_SYS_RESOURCE');
      if (!needsHugePages.test(name)) return false;
      return !available(hasHugePages, name, 'the host has no huge pages (vm.nr_hugepages=64)');
    };
    const failed = results.filter(([, result]) => result === 'not ok').map(([, , name]) => name!);
    expect(results.length).toBeGreaterThan(200);
    // What the harness says of a failure stands before its result.
    const said = stdout.match(/^# .*(Expected|imeout).*$/gm)?.join('\n');
    expect(
      failed.filter((name) => !lacks(name)),
      said,
    ).toEqual(differs);
  },
  240_000,
);
