/** Reports in a real browser. */

import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { edu, iopf, program } from '../exec/run-iopf.js';
import {
  coloursAt,
  drawing,
  haveChromium,
  launchChromium,
  openPage,
  shownNumbers,
  valueAt,
} from './chromium.js';

const folder = mkdtempSync(join(tmpdir(), 'test-browser-'));

interface Result {
  readonly runs: readonly Record<string, unknown>[];
  readonly published: readonly Record<string, unknown>[];
  readonly publishedHostSva: readonly Record<string, unknown>[];
}

describe.skipIf(!haveChromium('reports in a browser'))('in a browser,', () => {
  let browser: Browser;
  const files = (name: string) => ({
    html: join(folder, `${name}.html`),
    json: join(folder, `${name}.json`),
  });
  const comparison = files('compare');
  const run = files('run');
  const twice = files('twice');
  const checked = files('check');

  beforeAll(async () => {
    const iopfRun = (
      expected: number,
      { html, json }: typeof run,
      command: string,
      ...rest: string[]
    ): void => {
      const { status, stderr } = spawnSync(process.execPath, [
        iopf,
        command,
        '--html',
        html,
        '--json',
        json,
        ...rest,
      ]);
      // On a busy machine it says how far it is.
      const said = `${stderr}`.replace(/^iopf: [\d.]+ % done, .*\n/gm, '');
      expect([status, said]).toEqual([expected, '']);
    };
    iopfRun(0, comparison, 'compare', '--quiet', 'examples/rfc-v3.yaml');
    const device = ['--quiet', '--device', `edu@${edu}`];
    const event = `'${process.execPath}' '${program('memory-event')}' munmap; true`;
    const recorded = ['--record', join(folder, 'first.rec')];
    iopfRun(0, run, 'exec', ...device, ...recorded, '--', 'sh', '-c', event);
    copyFileSync(join(folder, 'first.rec'), join(folder, 'second.rec'));
    const two = ['first.rec', 'second.rec'].map((name) => join(folder, name));
    iopfRun(0, twice, 'compare', '--quiet', '--policy', 'iopf,iopf:premap=8', ...two);
    iopfRun(1, checked, 'check', '--variant', 'rfc-v3/R3.3');
    browser = await launchChromium();
  });
  // A page that is open is drawn again and again.
  afterEach(async () => {
    for (const context of browser.contexts()) await context.close();
  });
  afterAll(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const open = (path: string, options: BrowserContextOptions = {}) =>
    openPage(browser, `file://${path}`, options);
  const read = <Data>(path: string): Data => JSON.parse(readFileSync(path, 'utf8')) as Data;

  test('a comparison loads without an error, and its numbers are those of the JSON, all of them', async () => {
    const { page, troubles } = await open(comparison.html);
    const { published, publishedHostSva, runs } = read<Result>(comparison.json);
    const expected = runs.map(({ input: _, ...row }) => row);
    expect(await shownNumbers(page, 'section:nth-of-type(1)')).toEqual(expected);
    expect(await shownNumbers(page, 'section:nth-of-type(2)')).toEqual(published);
    expect(await shownNumbers(page, 'section:nth-of-type(3)')).toEqual(publishedHostSva);
    expect(troubles).toEqual([]);
  });

  test('a run is the live page: its numbers, what was refused, its device, its calls', async () => {
    const { page, troubles } = await open(run.html);
    const summary = read<Record<string, unknown>>(run.json);
    await page.locator('section[aria-label=Counters] [data-field]').first().waitFor();
    const [row] = await shownNumbers(page, 'section[aria-label=Counters]');
    for (const [name, value] of Object.entries(row!))
      expect([name, valueAt(summary, name)]).toEqual([name, value]);
    expect(row).toMatchObject({
      faults: summary['faults'],
      pagesInvalidated: 1,
      'faultLatencyUs.max': expect.any(Number),
    });
    // The shell was named; node used the device.
    const node = basename(process.execPath);
    expect(await page.title()).toBe(`iopf exec ${node}`);
    expect(row).toMatchObject({ program: 'sh', vfioProgram: node });
    expect(await page.textContent('.state')).toBe('ended: exit code 0');
    expect(await page.textContent('[data-tile=faults]')).toBe(`${summary['faults']}`);
    const [refused] = await shownNumbers(page, 'section[aria-label="Refused accesses"]');
    expect(refused).toMatchObject({ device: edu, reason: 'page could not be brought in' });
    expect(await page.textContent(`[data-device="${edu}"]`)).toMatch(/edu.*closed/);
    const log = page.locator('.log [role=option]');
    await page.locator('.log').focus();
    await expect.poll(() => page.textContent('output[data-field=calls]')).toMatch(/^\d+ calls$/);
    await page.keyboard.press('Home');
    expect(await log.first().textContent()).toContain('openat(AT_FDCWD, "/dev/vfio/vfio", O_RDWR)');
    await page.getByLabel('Call', { exact: true }).selectOption('refused');
    const lines = await log.allTextContents();
    expect(lines.map((line) => /refused: (\w+) \S+ (\w+)/.exec(line)?.slice(1))).toEqual([
      ['edu', 'read'],
      ['edu', 'wrote'],
    ]);
    expect(troubles).toEqual([]);
  });

  test('the map of a run shows what was mapped, and nothing behind its end', async () => {
    const { page } = await open(run.html);
    const map = await drawing(page, 'addresses');
    await page.getByLabel('Go to an address').fill('0x101000');
    await page.keyboard.press('Enter');
    await map.focus();
    const seen = await page.evaluate<string[]>(`(() => {
      const map = document.querySelector('[data-chart=addresses]');
      const press = (key) => map.dispatchEvent(new KeyboardEvent('keydown', { key }));
      const seen = [];
      press('Home');
      for (let step = 0; step < 128; step++, press('ArrowRight')) {
        const [, pages] = /of (\\d+) mapped pages/.exec(document.querySelector('#tip').textContent) ?? [];
        if (pages !== undefined) seen.push(pages);
      }
      return seen;
    })()`);
    expect([...seen].map(Number).filter((pages) => pages > 0)).not.toEqual([]);
    expect([...seen]).toContain('0');
  });

  test('a click on a name explains it, and another click or Escape ends that', async () => {
    const { page } = await open(run.html);
    const name = page.getByRole('button', { name: 'pages premapped', exact: true });
    await name.click();
    expect(await tip(page)).toMatch(/^Pages brought in beside those/);
    await name.click();
    expect(await page.isVisible('#tip')).toBe(false);
    await name.press('Enter');
    expect(await page.isVisible('#tip')).toBe(true);
    await name.press('Escape');
    expect(await page.isVisible('#tip')).toBe(false);
  });

  test('two recordings of one program are drawn together, and how they differ is told', async () => {
    const { page, troubles } = await open(twice.html);
    const titles = await page.locator('h2').allTextContents();
    expect(titles).toEqual([
      expect.stringMatching(/^sh: .*first\.rec, .*second\.rec$/),
      expect.stringMatching(/second\.rec against .*first\.rec, in percent of it$/),
    ]);
    await drawing(page, 'memory');
    const names = page.locator('figure:has([data-chart=memory]) .legend button');
    expect(await names.count()).toBe(1 + 4);
    const changes = await shownNumbers(page, 'section:nth-of-type(2)');
    expect(changes).toHaveLength(2);
    expect(changes[0]).toMatchObject({ policy: 'iopf', faultsChange: 0, stallSecondsChange: 0 });
    expect(troubles).toEqual([]);
  });

  test('a violation has its timeline, a column for each actor, and the command that shows it again', async () => {
    const { page, troubles } = await open(checked.html);
    const { scenarios } = read<{
      scenarios: { name: string; actors: string[]; violations: Violation[] }[];
    }>(checked.json);
    const broken = scenarios.find((scenario) => scenario.violations.length > 0)!;
    const [violation] = broken.violations;
    expect(await page.textContent('tr.failed')).toContain(broken.name);
    const history = page.locator('table.history');
    expect(await history.locator('thead th').allTextContents()).toEqual(['step', ...broken.actors]);
    const rows = await history.locator('tbody tr').all();
    expect(rows).toHaveLength(violation!.steps.length);
    for (const [index, { actor, changes, what }] of violation!.steps.entries()) {
      const cells = await rows[index]!.locator('td').allTextContents();
      expect(cells).toEqual(
        broken.actors.map((each) => (each === actor ? [what, ...changes].join('') : '')),
      );
    }
    expect(await page.locator('code').allTextContents()).toContain(violation!.replay);
    expect(await page.textContent('main')).toContain(violation!.detail);
    expect(troubles).toEqual([]);
  });

  const tip = (page: Page) => page.textContent('#tip');

  test('pointing at a chart tells the values there', async () => {
    const { page, troubles } = await open(comparison.html);
    expect(await page.locator('[data-chart]').count()).toBe(4);
    for (const kind of ['memory', 'rates', 'latency', 'addresses']) {
      const chart = await drawing(page, kind);
      const box = (await chart.boundingBox())!;
      await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
      await expect.poll(() => page.isVisible('#tip'), { message: `${kind}` }).toBe(true);
      expect(await tip(page)).toMatch(/\d/);
      expect(await tip(page)).not.toMatch(/NaN|undefined/);
      await page.mouse.move(0, 0);
      await expect.poll(() => page.isVisible('#tip')).toBe(false);
    }
    expect(troubles).toEqual([]);
  });

  test('what a chart tells is what the run was at that time', async () => {
    const { page } = await open(comparison.html);
    const box = (await (await drawing(page, 'memory')).boundingBox())!;
    await page.mouse.move(box.x + box.width - 40, box.y + 100);
    await expect.poll(() => tip(page)).toMatch(/^static: resident 16 GiB, pinned 16 GiB$/m);
    expect(await tip(page)).toMatch(/^iopf: resident 4\.1 MiB, pinned 0 B$/m);
    expect(await tip(page)).toMatch(/^mapped: what static pinning takes 16 GiB$/m);
    await (await drawing(page, 'addresses')).focus();
    for (let step = 0; step < 12; step++) await page.keyboard.press('ArrowRight');
    await expect
      .poll(() => tip(page))
      .toMatch(/touched \d+, brought in \d+, faulted \d+, invalidated 0 pages/);
  });

  test('a chart zooms by drag and keys, and comes back', async () => {
    const { page } = await open(run.html);
    const chart = await drawing(page, 'memory');
    const shown = () =>
      page.evaluate<string>(`document.querySelector('[data-chart=memory] canvas').toDataURL()`);
    const whole = await shown();
    const box = (await chart.boundingBox())!;
    await page.mouse.move(box.x + 120, box.y + 80);
    await page.mouse.down();
    await page.mouse.move(box.x + 180, box.y + 80, { steps: 4 });
    await page.mouse.up();
    await expect.poll(shown).not.toBe(whole);
    await chart.focus();
    await page.keyboard.press('0');
    await expect.poll(shown).toBe(whole);
    await page.keyboard.press('+');
    await expect.poll(shown).not.toBe(whole);
  });

  test('a name in the legend hides its lines and shows them again', async () => {
    for (const [html, entry] of [
      [run.html, 0],
      [comparison.html, 1],
    ] as const) {
      const { page, troubles } = await open(html);
      await drawing(page, 'rates');
      const shown = () =>
        page.evaluate<string>(`document.querySelector('[data-chart=rates] canvas').toDataURL()`);
      const whole = await shown();
      const name = page.locator('figure:has([data-chart=rates]) .legend button').nth(entry);
      await name.click();
      await expect.poll(shown).not.toBe(whole);
      expect(await name.getAttribute('aria-pressed')).toBe('false');
      await name.click();
      await expect.poll(shown).toBe(whole);
      expect(troubles).toEqual([]);
    }
  });

  test.each(['light', 'dark'] as const)(
    'a table that is cut has a shade where it goes on, %s',
    async (colorScheme) => {
      const { page } = await open(comparison.html, {
        colorScheme,
        viewport: { width: 700, height: 900 },
      });
      const table = page.locator('.scroll').first();
      const box = (await table.boundingBox())!;
      const edges = async (): Promise<boolean[]> => {
        // Between the top of the table and its letters.
        const xs = [box.x + 1, 350, box.x + box.width - 2];
        const [left, middle, right] = await coloursAt(page, xs, box.y + 2);
        return [left !== middle, right !== middle];
      };
      const scroll = (to: number) =>
        page.evaluate(`document.querySelector('.scroll').scrollLeft = ${to}`);
      expect(await edges()).toEqual([false, true]);
      await scroll(100);
      expect(await edges()).toEqual([true, true]);
      await scroll(1e4);
      expect(await edges()).toEqual([true, false]);
    },
  );

  test('every table fits a page of 1280 pixels', async () => {
    for (const { html } of [comparison, twice, run, checked]) {
      const { page } = await open(html, { viewport: { width: 1280, height: 900 } });
      const over = await page.evaluate<number[]>(
        `[...document.querySelectorAll('.scroll')].map((each) => each.scrollWidth - each.clientWidth)`,
      );
      expect([html, over]).toEqual([html, over.map(() => 0)]);
    }
  });

  test('it can be read in light and dark, on a phone and on paper', async () => {
    const colours = async (colorScheme: 'light' | 'dark'): Promise<string[]> => {
      const { page } = await open(comparison.html, { colorScheme });
      return page.evaluate<string[]>(
        '[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]',
      );
    };
    const brightness = (colour: string): number =>
      Math.max(...colour.match(/\d+/g)!.slice(0, 3).map(Number));
    const [lightInk, lightPaper] = (await colours('light')).map(brightness);
    const [darkInk, darkPaper] = (await colours('dark')).map(brightness);
    expect(lightPaper! - lightInk!).toBeGreaterThan(150);
    expect(darkInk! - darkPaper!).toBeGreaterThan(150);

    for (const { html } of [comparison, run, checked]) {
      const { page } = await open(html, { viewport: { width: 390, height: 844 }, isMobile: true });
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(390);
      // Letters are as big as on a desk, and no drawing is scaled down.
      const kinds = await page.evaluate<string[]>(
        `[...document.querySelectorAll('[data-chart]')].map((each) => each.dataset.chart)`,
      );
      for (const kind of kinds) {
        await drawing(page, kind);
        const letters = `document.querySelector('[data-chart=${kind}] .bucket') ?? document.querySelector('[data-chart=${kind}]')`;
        expect(
          await page.evaluate(`parseFloat(getComputedStyle(${letters}).fontSize)`),
        ).toBeGreaterThan(8);
        const scales = `[...document.querySelectorAll('[data-chart=${kind}] canvas')].map(
          (canvas) => canvas.width / canvas.getBoundingClientRect().width / devicePixelRatio)`;
        for (const scale of await page.evaluate<number[]>(scales)) expect(scale).toBeCloseTo(1, 1);
      }
    }

    const paper = await open(comparison.html, { colorScheme: 'dark' });
    await paper.page.emulateMedia({ media: 'print' });
    const ink = await paper.page.evaluate<string>(
      'getComputedStyle(document.body).backgroundColor',
    );
    expect(brightness(ink)).toBe(255);
    expect((await paper.page.pdf({ format: 'A4' })).length).toBeGreaterThan(10_000);
    expect(paper.troubles).toEqual([]);
  });
});

interface Violation {
  readonly detail: string;
  readonly replay: string;
  readonly steps: readonly { actor: string; what: string; changes: string[] }[];
}
