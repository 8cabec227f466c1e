/** Reports in a real browser: Debian's chromium through playwright-core. */

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { edu, iopf, program } from '../exec/run-iopf.js';

const CHROMIUM = '/usr/bin/chromium';
const folder = mkdtempSync(join(tmpdir(), 'test-browser-'));
const present = existsSync(CHROMIUM);
if (!present) console.warn(`SKIPPED: reports in a browser: no ${CHROMIUM}`);

interface Result {
  readonly runs: readonly Record<string, unknown>[];
}

describe.skipIf(!present)('in a browser,', () => {
  let browser: Browser;
  const comparison = { html: join(folder, 'compare.html'), json: join(folder, 'compare.json') };
  const run = { html: join(folder, 'run.html'), json: join(folder, 'run.json') };

  beforeAll(async () => {
    const output = (files: { html: string; json: string }) => ['--html', files.html, '--json', files.json];
    const compared = spawnSync(process.execPath, [
      iopf,
      'compare',
      'examples/rfc-v3.yaml',
      ...output(comparison),
    ]);
    expect(`${compared.stderr}`).toBe('');
    const device = ['--quiet', '--device', `edu@${edu}`];
    const ran = spawnSync(process.execPath, [
      iopf,
      'exec',
      ...output(run),
      ...device,
      '--',
      process.execPath,
      program('memory-event'),
      'dontneed',
    ]);
    expect(`${ran.stderr}`).toBe('');
    browser = await chromium.launch({
      executablePath: CHROMIUM,
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    });
  }, 60_000);
  afterAll(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Opens a report; whatever it logs as an error or asks of a network is in `troubles`. */
  async function open(path: string, options = {}): Promise<{ page: Page; troubles: string[] }> {
    const page = await (await browser.newContext(options)).newPage();
    const troubles: string[] = [];
    page.on('console', (message) => message.type() === 'error' && troubles.push(message.text()));
    page.on('pageerror', (error) => troubles.push(String(error)));
    page.on('request', (request) => /^(file|data):/.test(request.url()) || troubles.push(request.url()));
    await page.goto(`file://${path}`);
    return { page, troubles };
  }

  const cells = (page: Page): Promise<Record<string, unknown>[]> =>
    page.$$eval('section:first-of-type table:first-of-type tbody tr', (rows) =>
      rows.map((row) =>
        Object.fromEntries(
          [...row.querySelectorAll('td')].map((cell) => [
            cell.dataset['field'],
            JSON.parse(cell.dataset['value']!),
          ]),
        ),
      ),
    );

  test('a comparison loads without an error, and its numbers are those of the JSON', async () => {
    const { page, troubles } = await open(comparison.html);
    const { runs } = JSON.parse(readFileSync(comparison.json, 'utf8')) as Result;
    const shown = await cells(page);
    expect(shown).toHaveLength(runs.length);
    shown.forEach((row, index) => {
      expect(runs[index]).toMatchObject(row);
      expect(Object.keys(row)).toContain('faults');
    });
    expect(troubles).toEqual([]);
  });

  test('a live run does the same', async () => {
    const { page, troubles } = await open(run.html);
    const summary = JSON.parse(readFileSync(run.json, 'utf8')) as Record<string, unknown>;
    const [row] = await cells(page);
    for (const [name, value] of Object.entries(row!)) {
      const at = name
        .split('.')
        .reduce<unknown>((part, key) => (part as Record<string, unknown>)[key], summary);
      expect([name, at]).toEqual([name, value]);
    }
    expect(row).toMatchObject({ faults: summary['faults'], pagesInvalidated: 1 });
    expect(troubles).toEqual([]);
  });

  test('pointing at a chart tells the values there', async () => {
    const { page } = await open(comparison.html);
    for (const chart of await page.$$('svg[data-chart]')) {
      const kind = await chart.getAttribute('data-chart');
      await chart.scrollIntoViewIfNeeded();
      // The largest mark of it, or its middle where it has only lines.
      let box = (await chart.boundingBox())!;
      let most = 0;
      for (const mark of await chart.$$('rect')) {
        const place = (await mark.boundingBox())!;
        if (place.width * place.height <= most) continue;
        most = place.width * place.height;
        box = place;
      }
      await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
      await expect.poll(() => page.isVisible('#tip'), { message: `${kind}` }).toBe(true);
      expect(await page.textContent('#tip')).toMatch(/\d/);
      await page.mouse.move(0, 0);
    }
  });

  test('it can be read in light and dark, on a phone and on paper', async () => {
    const colours = async (colorScheme: 'light' | 'dark'): Promise<string[]> => {
      const { page } = await open(comparison.html, { colorScheme });
      return page.evaluate<string[]>(
        '[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]',
      );
    };
    const brightness = (colour: string): number => Math.max(...colour.match(/\d+/g)!.slice(0, 3).map(Number));
    const [lightInk, lightPaper] = (await colours('light')).map(brightness);
    const [darkInk, darkPaper] = (await colours('dark')).map(brightness);
    expect(lightPaper! - lightInk!).toBeGreaterThan(150);
    expect(darkInk! - darkPaper!).toBeGreaterThan(150);

    const phone = await open(comparison.html, { viewport: { width: 390, height: 844 }, isMobile: true });
    expect(await phone.page.evaluate('document.documentElement.scrollWidth')).toBe(390);
    const text = await phone.page.$eval('svg text', (node) => node.getBoundingClientRect().height);
    expect(text).toBeGreaterThan(8);

    const paper = await open(comparison.html);
    await paper.page.emulateMedia({ media: 'print' });
    expect((await paper.page.pdf({ format: 'A4' })).length).toBeGreaterThan(10_000);
    expect(paper.troubles).toEqual([]);
  });
});
