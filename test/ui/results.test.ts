/**
 * `iopf compare --ui` and `iopf check --ui` in a real browser: progress, then results, then a file.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { iopf } from '../exec/run-iopf.js';
import { haveChromium, launchChromium, openPage, shownNumbers } from '../report/chromium.js';

const folder = mkdtempSync(join(tmpdir(), 'test-results-'));

describe.skipIf(!haveChromium('results in a live page'))('a live page of', () => {
  let browser: Browser;
  const started: ChildProcess[] = [];
  beforeAll(async () => {
    browser = await launchChromium();
  });
  afterAll(async () => {
    for (const child of started) child.kill('SIGKILL');
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Starts `iopf`, and opens its page once it has said where that is. */
  async function watch(...args: string[]): Promise<{ page: Page; troubles: string[] }> {
    const child = spawn(process.execPath, [iopf, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
    started.push(child);
    const address = await new Promise<string>((found, fail) => {
      let text = '';
      child.stderr!.on('data', (more) => {
        text += more;
        const [known] = /http:\S+/.exec(text) ?? [];
        if (known !== undefined) found(known);
      });
      child.on('exit', () => fail(new Error(text)));
    });
    return openPage(browser, address, { acceptDownloads: true });
  }

  async function save(page: Page, name: string): Promise<{ page: Page; troubles: string[] }> {
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'Save' }).click(),
    ]);
    const file = join(folder, name);
    await download.saveAs(file);
    return openPage(browser, `file://${file}`);
  }

  test('a comparison ends with the numbers of its JSON, and saves them', async () => {
    const json = join(folder, 'compare.json');
    const { page, troubles } = await watch(
      'compare',
      '--ui',
      '--json',
      json,
      'examples/rfc-v3.yaml',
    );
    await expect.poll(() => page.textContent('.state')).toMatch(/^ended/);
    const { runs } = JSON.parse(readFileSync(json, 'utf8')) as { runs: Record<string, unknown>[] };
    const expected = runs.map(({ input: _, ...row }) => row);
    const shown = (of: Page) => shownNumbers(of, 'section:nth-of-type(1)');
    await expect.poll(() => shown(page)).toEqual(expected);
    const saved = await save(page, 'compare.html');
    expect(await shown(saved.page)).toEqual(expected);
    expect(await saved.page.locator('[data-chart]').count()).toBe(4);
    expect([...troubles, ...saved.troubles]).toEqual([]);
  });

  test('a check tells how far it is, and shows each violation', async () => {
    const { page, troubles } = await watch(
      'check',
      '--ui',
      '--variant',
      'rfc-v3',
      'fault-migrate-unmap',
      'enable-fault',
      'detach-fault',
    );
    await expect.poll(() => page.textContent('.state')).toMatch(/^ended/);
    const broken = page.locator('tr.failed');
    await expect.poll(() => broken.count()).toBeGreaterThan(1);
    expect(await page.locator('table.history').count()).toBe(await broken.count());
    expect(await page.textContent('.progress')).toMatch(/\d+ of \d+/);
    for (const row of await broken.allTextContents()) expect(row).toContain('violation');
    const saved = await save(page, 'check.html');
    expect(await saved.page.locator('table.history').count()).toBe(await broken.count());
    expect([...troubles, ...saved.troubles]).toEqual([]);
  });
});
