/**
 * What runs in the guests of test:arm64 and test:vm: real programs under `iopf exec`, many to a
 * run, as each start of Node takes seconds there. `smoke [NAME…]` chooses runs.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RunSummary } from '../../src/exec/run/summary.js';
import { memoryEvents, OLD } from '../exec/memory-events.js';
import { edu, nvme, program, repository, runIopf } from '../exec/run-iopf.js';

const IMAGE_BYTES = 4 * 2 ** 20;
const PAGE = 4096;
/** Another disk, of the size that it has by default. */
const other = '0000:03:00.0';
const example = (name: string): string => join(repository, `dist/examples/${name}/main.js`);

/** What each command has printed, and its exit code. */
interface Ran {
  readonly results: readonly { readonly code: number; readonly text: string }[];
  readonly summary: RunSummary;
}

/** Runs shell commands one after the other in one run. */
async function shell(
  devices: readonly string[],
  commands: readonly string[],
  options: readonly string[] = [],
): Promise<Ran> {
  const script = commands.map((command) => `${command} 2>&1; echo "<exit $?>"`).join('\n');
  const { code, stdout, stderr, summary } = await runIopf(
    [...options, ...devices.flatMap((device) => ['--device', device])],
    ['sh', '-c', script],
  );
  assert.equal(code, 0, `exit code ${code}\n${stdout}${stderr}`);
  assert.doesNotMatch(stderr, /defect/);
  const results = [...stdout.matchAll(/([\s\S]*?)<exit (\d+)>\n/g)].map(([, text, exit]) => ({
    text: text!,
    code: Number(exit),
  }));
  assert.equal(results.length, commands.length, stdout + stderr);
  return { results, summary: summary! };
}

/** The paths of the shadow, by calls whose numbers, flags and structs differ by architecture. */
async function paths(): Promise<string> {
  const device = `/sys/bus/pci/devices/${edu}`;
  const { results } = await shell(
    [`edu@${edu}`],
    [
      "stat -c '%F %a %t:%T' /dev/vfio/vfio",
      'ls -A /dev/vfio | wc -l',
      `basename $(readlink ${device}/iommu_group)`,
      `cat ${device}/vendor`,
      'test -e /dev/vfio/none',
    ],
  );
  const [node, listed, group, vendor, missing] = results;
  assert.equal(node!.text, 'character special file 666 a:c4\n');
  assert.equal(listed!.text, '3\n'); // a group, vfio, devices
  assert.match(group!.text, /^\d+\n$/);
  assert.equal(vendor!.text, '0x1234\n');
  assert.equal(missing!.code, 1);
  return 'stat, readdir, readlink, read';
}

/** Modes of torture.c: what programs do to their threads, signals, processes and descriptors. */
async function programs(): Promise<string> {
  const modes = ['signals', 'threads', 'forks', 'execs', 'duplicates', 'interrupt', 'paths'];
  const commands = modes.map((mode) => `/torture ${mode} ${edu}`);
  const { results } = await shell([`edu@${edu}`], commands);
  for (const [index, mode] of modes.entries())
    assert.deepEqual(results[index], { code: 7, text: 'ok\n' }, mode);
  return modes.join(', ');
}

/** The example, and every way to take memory away under a live mapping. */
async function memory(): Promise<string> {
  const { results, summary } = await shell(
    [`edu@${edu}`],
    [
      `node ${example('dma-copy')}`,
      ...memoryEvents.map(([event]) => `node ${program('memory-event')} '${event}'`),
    ],
  );
  assert.equal(results[0]!.code, 0, results[0]!.text);
  for (const [index, [event, read, written]] of memoryEvents.entries()) {
    const { code, text } = results[index + 1]!;
    assert.equal(code, 0, `${event}: ${text}`);
    assert.deepEqual(JSON.parse(text), { before: OLD, read, written }, event);
  }
  assert.equal(summary.pinnedBytesPeak, 0);
  const taken = memoryEvents.reduce((sum, [, , , pages]) => sum + pages, 0);
  assert.ok(summary.pagesInvalidated >= taken, `${summary.pagesInvalidated} pages, not ${taken}`);
  return `dma-copy and ${memoryEvents.length} memory events`;
}

/** Debian's qemu-img there and back, and the example that polls queues by mapped doorbells. */
async function disk(): Promise<string> {
  const url = `nvme://${nvme}/1`;
  const original = randomBytes(IMAGE_BYTES);
  writeFileSync('/tmp/image', original);
  const devices = [`nvme@${nvme},file=/tmp/disk,size=${IMAGE_BYTES}`, `nvme@${other}`];
  const { results, summary } = await shell(devices, [
    `qemu-img convert -f raw -O raw -n /tmp/image ${url}`,
    `qemu-img convert -f raw -O raw ${url} /tmp/back`,
    `qemu-img compare -f raw -F raw /tmp/image ${url}`,
    `node ${example('nvme-poll')} ${other} --queues 2 --depth 8 --seconds 1`,
  ]);
  for (const [index, { code, text }] of results.entries())
    assert.equal(code, 0, `command ${index + 1}: exit code ${code}: ${text}`);
  for (const path of ['/tmp/disk', '/tmp/back'])
    assert.ok(readFileSync(path).equals(original), `${path} is not the image`);
  assert.match(results[2]!.text, /identical/);
  assert.ok(JSON.parse(results[3]!.text).perSecond > 0);
  assert.equal(summary.pinnedBytesPeak, 0);
  assert.ok(summary.pagesFaultedIn >= (3 * IMAGE_BYTES) / PAGE);
  return `qemu-img convert there and back, compare of ${IMAGE_BYTES / 2 ** 20} MiB, nvme-poll`;
}

/** As the kernel has it without I/O page faults. */
async function pinned(): Promise<string> {
  const run = await shell([`edu@${edu}`], [`node ${example('dma-copy')}`], ['--iopf', 'off']);
  assert.equal(run.results[0]!.code, 0, run.results[0]!.text);
  assert.equal(run.summary.pinnedBytesPeak, run.summary.mappedBytesPeak);
  assert.equal(run.summary.pagesFaultedIn, 0);
  return 'dma-copy with all of its memory pinned';
}

const words = process.argv.slice(2);
const chosen = [paths, programs, disk, pinned, memory].filter(
  ({ name }) => words.length === 0 || words.includes(name),
);
let passed = 0;
for (const run of chosen) {
  const began = performance.now();
  const seconds = (): string => `${((performance.now() - began) / 1000).toFixed(0)} s`;
  try {
    const what = await run();
    console.log(`  passed  ${run.name}: ${what} (${seconds()})`);
    passed++;
  } catch (error) {
    console.log(`  FAILED  ${run.name} (${seconds()}): ${(error as Error).message}`);
  }
}
const verdict = passed === chosen.length && passed > 0 ? 'all passed' : 'FAILED';
console.log(`smoke: ${verdict}: ${passed} of ${chosen.length}`);
