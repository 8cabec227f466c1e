import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { quirks } from '../../src/vfio-user/quirks.js';
import { type Recorded, Replay, type Servers } from './recorded-server.js';

const folder = 'test/vectors-vfio-user';
const servers = JSON.parse(readFileSync(`${folder}/servers.jsonl`, 'utf8')) as Servers;
const recorded = ['probe', 'suite'].flatMap((file) =>
  readFileSync(`${folder}/${file}.jsonl`, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Recorded),
);

/** What is answered differently, and the row of the table that says why. */
const exceptions: readonly (readonly [name: RegExp, quirk: string])[] = [
  [/header\/write-1MiB$/, 'one-send'],
  [/header\/size-max-plus-1$/, 'oversize'],
  [/version\/(json-(comment|single)|cap-max_msg_fds-4294967296)/, 'json'],
  [/dma-map\/again-/, 'overlap'],
  [/dma-map\/(file-)?addr-/, 'page-aligned'],
  [/dma-map\/full$|dma_region_too_many/, 'map-limit'],
  [/dma-map\/no-dma$/, 'no-dma'],
  [/quiesce|while-pending|dma_map_(busy|reply_fail)/, 'quiesce'],
  [/region\/(cb-errno|read-region-0x8)$|large_64bit_bar|bad_sg_count/, 'callback'],
  [/config|pci_(ext_)?cap|32bit_bar_size_detection/, 'config'],
  [/io-fds|io_fds|shadow_ioeventfd/, 'io-fds'],
  [/shared-between-types/, 'shared-eventfds'],
  [/dma-write\/.*-count-4-bytes/, 'write-count'],
  [/dma-read\/.*(crossing|as-command)/, 'crossing'],
  [/(probe|suite)\/(state|mig|migration|feature)\/|in-stop-copy/, 'migration'],
  [/start-(1|3|4095)$|disconnect-stops|ctx_no_stop/, 'logging'],
  [/report-(sub-range|message-region)|dirty_pages_invalid_arguments/, 'logging-range'],
  [/start-(0|twice|short)|dirty_pages_start_/, 'error-body'],
  [/bitmap-logging-pgsize-8192/, 'bitmap'],
];

const quirkOf = (name: string): string | null =>
  exceptions.find(([pattern]) => pattern.test(name))?.[1] ?? null;

describe('the recorded exchanges with libvfio-user', () => {
  const differing = recorded
    .map((each) => ({ name: each.name, differences: new Replay(each, servers).differences }))
    .filter(({ differences }) => differences.length > 0);

  it('are answered alike, but for what a row of the table explains', () => {
    expect(differing.filter(({ name }) => quirkOf(name) === null)).toEqual([]);
    expect(recorded.length).toBe(653);
  });

  it('and every exception is one', () => {
    const names = new Set(differing.map(({ name }) => name));
    const idle = exceptions.filter(([pattern]) => ![...names].some((name) => pattern.test(name)));
    expect(idle).toEqual([]);
    expect(names.size).toBe(204);
    const known = new Set(quirks.map(({ id }) => id));
    expect(exceptions.filter(([, quirk]) => !known.has(quirk))).toEqual([]);
  });
});

it('docs/vfio-user.md shows the table', () => {
  const rows = readFileSync('docs/vfio-user.md', 'utf8')
    .split('\n')
    .filter((line) => quirks.some(({ id }) => line.startsWith(`| ${id} |`)));
  expect(rows).toEqual(quirks.map(({ id, iopf, others }) => `| ${id} | ${others} | ${iopf} |`));
});
