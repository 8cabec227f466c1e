/** A live run in a real browser: Debian's qemu-img on our nvme, watched until it is told to end. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { formatSize } from '../../src/input/size.js';
import { iopf, nvme } from '../exec/run-iopf.js';
import {
  haveChromium,
  launchChromium,
  openPage,
  shownNumbers,
  valueAt,
} from '../report/chromium.js';
import { have } from '../skip.js';

const folder = mkdtempSync(join(tmpdir(), 'test-ui-'));
const json = join(folder, 'summary.json');
const possible =
  haveChromium('a live run in a browser') && have('qemu-img', 'a live run in a browser');
const tall = { viewport: { width: 1280, height: 2000 } };

describe.skipIf(!possible)('a live run in a browser', () => {
  let browser: Browser;
  let run: ChildProcess;
  let page: Page;
  let troubles: string[];

  beforeAll(async () => {
    browser = await launchChromium();
    const command =
      `qemu-img bench -f raw -t none -c 2000000000 -d 32 -s 4096 nvme://${nvme}/1`.split(' ');
    const options = ['--ui', '--json', json, '--device', `nvme@${nvme},size=64M`];
    run = spawn(process.execPath, [iopf, 'exec', ...options, '--', ...command], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const address = await new Promise<string>((found) => {
      let text = '';
      run.stderr!.on('data', (more) => {
        text += more;
        const [known] = /http:\S+/.exec(text) ?? [];
        if (known !== undefined) found(known);
      });
    });
    ({ page, troubles } = await openPage(browser, address, { ...tall, acceptDownloads: true }));
  });
  afterAll(async () => {
    run?.kill('SIGKILL');
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const tip = async (): Promise<string> => (await page.textContent('#tip')) ?? '';
  const numbers = async (of: Page) =>
    (await shownNumbers(of, 'section[aria-label=Counters]'))[0] ?? {};
  /**
   * Moves the map's cursor down the step before the newest, which may not have been asked about
   * yet, to a row that the device touched; returns where that begins, or ''.
   */
  const touched = (): Promise<string> =>
    page.evaluate<string>(`(() => {
      const map = document.querySelector('[data-chart=addresses]');
      const press = (key) => map.dispatchEvent(new KeyboardEvent('keydown', { key }));
      const tip = () => document.querySelector('#tip').textContent;
      for (let row = 0; row < 350; row++) press('ArrowUp');
      press('End');
      press('ArrowLeft');
      for (let row = 0; row < 350; row++, press('ArrowDown'))
        if (/touched [1-9]/.test(tip())) return /\\[(0x[0-9a-f]+)/.exec(tip())[1];
      return '';
    })()`);
  const shownCalls = () => page.locator('.log [role=option]').allTextContents();

  test('tells what runs, its device, and what it does now', async () => {
    await expect.poll(() => page.textContent('.state')).toBe('live');
    expect(await page.textContent('h1')).toBe('iopf exec qemu-img');
    await expect
      .poll(() => page.textContent(`[data-device="${nvme}"]`))
      .toMatch(/nvme.*opencontainer 0.*on/);
    const written = async () => Number((await numbers(page))['dmaBytesWritten'] ?? 0);
    await expect.poll(written).toBeGreaterThan(0);
    const before = await written();
    await expect.poll(written).toBeGreaterThan(before);
    expect(await page.textContent('[data-tile=pinned]')).toBe('0 B');
  });

  test('the map lights up where the device touches memory, and zooms to single pages', async () => {
    const map = page.locator('[data-chart=addresses]');
    await map.focus();
    await page.keyboard.press('0');
    await expect.poll(touched).not.toBe('');
    // Its colour is that of the legend, or near it: orange, somewhere in the newest quarter.
    const isOrange = `(() => {
      const canvas = document.querySelector('[data-chart=addresses] canvas');
      const y = document.querySelector('.cursor').getBoundingClientRect().top - canvas.getBoundingClientRect().top;
      const width = Math.floor(canvas.width / 4);
      // A line of a canvas of our own: of one that is drawn on chromium logs how it would rather
      // be read.
      const line = new OffscreenCanvas(width, 1).getContext('2d', { willReadFrequently: true });
      line.drawImage(canvas, canvas.width - width, Math.round(y), width, 1, 0, 0, width, 1);
      const { data } = line.getImageData(0, 0, width, 1);
      for (let at = 0; at < data.length; at += 4)
        if (data[at] > data[at + 1] && data[at + 1] > data[at + 2] + 30) return true;
      return false;
    })()`;
    const isLit = async (): Promise<boolean> =>
      (await touched()) !== '' && page.evaluate<boolean>(isOrange);
    await expect.poll(isLit).toBe(true);

    for (let zoom = 0; zoom < 12; zoom++) await page.keyboard.press('+');
    await expect.poll(() => page.textContent('.toolbar output')).toMatch(/, 8 pages$/);
    // Asked again, for single pages.
    const single = async (): Promise<number> => {
      await touched();
      const [, first, end] = /\[(0x[0-9a-f]+), (0x[0-9a-f]+)\)/.exec(await tip()) ?? [];
      return Number(end) - Number(first);
    };
    await expect.poll(single).toBe(4096);
  });

  test('a click on it shows the I/O page tables there', async () => {
    const map = page.locator('[data-chart=addresses]');
    let iova = '';
    await expect.poll(async () => (iova = await touched())).not.toBe('');
    await page.keyboard.press('Enter');
    const panel = page.locator('section[aria-label="I/O page tables"]');
    await expect.poll(() => panel.locator('tbody').textContent()).toContain(iova);
    expect(await panel.textContent()).toMatch(
      /Mapping \[0x[0-9a-f]+, 0x[0-9a-f]+\), .* from virtual address 0x[0-9a-f]+, not pinned/,
    );
    const line = (await page.locator('.cursor').boundingBox())!;
    await panel.getByRole('button', { name: 'Close' }).click();
    expect(await panel.isVisible()).toBe(false);
    // The pointer does what the keys do.
    const box = (await map.boundingBox())!;
    await page.mouse.click(box.x + box.width - 20, line.y);
    await expect.poll(() => panel.locator('tbody').textContent()).toContain(iova);
    await map.focus();
    await page.keyboard.press('0');
  });

  test('the log is filtered by call, result, descriptor and text', async () => {
    const all = (await shownCalls()).length;
    expect(all).toBeGreaterThan(10);
    await page.getByLabel('Call', { exact: true }).selectOption('ioctl(VFIO_IOMMU_MAP_DMA)');
    let calls = await shownCalls();
    expect(calls.length).toBeGreaterThan(0);
    expect(
      calls.filter(
        (call) =>
          !/VFIO_IOMMU_MAP_DMA, \{argsz=32, flags=.*\} = 0 </.test(call) && !/ = 0 </.test(call),
      ),
    ).toEqual([]);
    expect(calls.every((call) => call.includes('VFIO_IOMMU_MAP_DMA'))).toBe(true);
    await page.getByLabel('Result').selectOption('failed');
    expect(await shownCalls()).toEqual([]);
    await page.getByLabel('Result').selectOption('ok');
    expect(await shownCalls()).toEqual(calls);
    await page.getByLabel('Call', { exact: true }).selectOption('');
    await page.getByLabel('Result').selectOption('');

    const descriptors = await page.getByLabel('Descriptor').locator('option').allTextContents();
    const descriptor = descriptors.at(-1)!;
    await page.getByLabel('Descriptor').selectOption(descriptor);
    calls = await shownCalls();
    expect(calls.length).toBeGreaterThan(0);
    expect(calls.filter((call) => !call.includes(`${descriptor}<`))).toEqual([]);
    await page.getByLabel('Descriptor').selectOption('');

    await page.getByLabel('Text in the call').fill('get_region_info');
    calls = await shownCalls();
    expect(calls.length).toBeGreaterThan(0);
    expect(calls.every((call) => call.includes('VFIO_DEVICE_GET_REGION_INFO'))).toBe(true);
    await page.locator('.log').focus();
    await page.keyboard.press('Home');
    expect(await page.textContent('.detail')).toContain('VFIO_DEVICE_GET_REGION_INFO');
    await page.getByLabel('Text in the call').fill('');
    await expect.poll(async () => (await shownCalls()).length).toBeGreaterThanOrEqual(all);
  });

  test('every control can be reached with the keyboard', async () => {
    await page.evaluate('document.activeElement.blur(), scrollTo(0, 0)');
    const reached = new Set<string>();
    for (let press = 0; press < 90; press++) {
      await page.keyboard.press('Tab');
      const name = `(({ dataset, ariaLabel, textContent, className }) => dataset.chart ?? ariaLabel ?? (textContent.slice(0, 12) || className))(document.activeElement)`;
      reached.add(await page.evaluate<string>(name));
    }
    for (const control of [
      'memory',
      'rates',
      'addresses',
      'Call',
      'Result',
      'Descriptor',
      'VFIO calls',
      '+',
      'All',
    ])
      expect([...reached]).toContain(control);
  });

  test('ends with the numbers of the JSON, and is saved as a file that shows the same', async () => {
    run.kill('SIGTERM');
    await expect.poll(() => page.textContent('.state')).toMatch(/^ended: .*SIGTERM/);
    let summary: unknown = null;
    const written = (): boolean => {
      try {
        summary = JSON.parse(readFileSync(json, 'utf8'));
        return true;
      } catch {
        return false;
      }
    };
    await expect.poll(written).toBe(true);
    const equal = (shown: Record<string, unknown>): void => {
      expect(Object.keys(shown)).toEqual(
        expect.arrayContaining([
          'faults',
          'dmaBytesWritten',
          'interceptedCalls',
          'faultLatencyUs.p99',
        ]),
      );
      for (const [name, value] of Object.entries(shown))
        expect([name, value]).toEqual([name, valueAt(summary, name)]);
    };
    await expect.poll(async () => (await numbers(page))['signal']).toBe('SIGTERM');
    equal(await numbers(page));
    // What is over has been unmapped: the big numbers are the peaks.
    const peak = formatSize(valueAt(summary, 'mappedBytesPeak') as number);
    expect(await page.textContent('[data-tile=mapped]')).toBe(peak);
    expect(await page.textContent('[data-field=verdict]')).toBe(valueAt(summary, 'verdict'));

    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'Save' }).click(),
    ]);
    const file = join(folder, 'saved.html');
    await download.saveAs(file);
    const saved = await openPage(browser, `file://${file}`, tall);
    await expect.poll(async () => (await numbers(saved.page))['signal']).toBe('SIGTERM');
    equal(await numbers(saved.page));
    expect(await saved.page.textContent('.state')).toBe(await page.textContent('.state'));
    const calls = await saved.page.textContent('output[data-field=calls]');
    expect(calls).toMatch(/^\d+ calls$/);
    expect(calls).toBe(await page.textContent('output[data-field=calls]'));
    for (const chart of ['memory', 'rates', 'addresses'])
      expect(await saved.page.locator(`[data-chart=${chart}] canvas`).count()).toBe(1);
    expect(saved.troubles).toEqual([]);
    expect(troubles).toEqual([]);
  });

  test('what is left of it can be read when the server has gone', async () => {
    run.kill('SIGKILL');
    await page.waitForTimeout(1_000);
    expect(await page.textContent('.state')).toMatch(/^ended/);
    expect((await numbers(page))['signal']).toBe('SIGTERM');
  });
});
