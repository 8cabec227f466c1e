/** Debian's chromium through playwright-core. */
import { existsSync } from 'node:fs';
import {
  type Browser,
  type BrowserContextOptions,
  chromium,
  type Locator,
  type Page,
} from 'playwright-core';
import { available } from '../skip.js';

/** The one without windows, where it is installed: the other draws those of every page, too. */
const chromiums = ['/usr/bin/chromium-headless-shell', '/usr/bin/chromium'];
const installed = chromiums.find((path) => existsSync(path));

export function haveChromium(skipped: string): boolean {
  return available(installed !== undefined, skipped, `none of ${chromiums.join(', ')}`);
}

export function launchChromium(): Promise<Browser> {
  const quiet = ['--disable-background-networking', '--disable-component-update', '--disable-sync'];
  return chromium.launch({
    executablePath: installed!,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', ...quiet],
  });
}

/**
 * Opens a page; what it logs as an error, and what it asks of anybody but `own`, is in `troubles`.
 */
export async function openPage(
  browser: Browser,
  address: string,
  options: BrowserContextOptions = {},
): Promise<{ page: Page; troubles: string[] }> {
  const page = await (await browser.newContext(options)).newPage();
  const troubles: string[] = [];
  const own = address.startsWith('file:')
    ? /^(file|data|blob):/
    : new RegExp(`^(data|blob):|^${new URL(address).origin}/`);
  page.on(
    'console',
    (message) => ['error', 'warning'].includes(message.type()) && troubles.push(message.text()),
  );
  page.on('pageerror', (error) => troubles.push(String(error)));
  page.on('request', (request) => own.test(request.url()) || troubles.push(request.url()));
  await page.goto(address);
  return { page, troubles };
}

/**
 * Numbers by the names of the JSON, as `within` shows them: of a table its rows, each with what is
 * the same in all of them, of a list the one row that it is.
 */
export function shownNumbers(page: Page, within: string): Promise<Record<string, unknown>[]> {
  return page.evaluate<Record<string, unknown>[]>(`(() => {
    const fields = (node) => [...node?.querySelectorAll('[data-field]') ?? []].map(
      ({ dataset }) => [dataset.field, JSON.parse(dataset.value)]);
    return [...document.querySelectorAll('${within} tbody tr, ${within} dl.numbers')].map((row) =>
      Object.fromEntries([...fields(row), ...fields(row.closest('.table')?.querySelector('.same'))]));
  })()`);
}

/** Scrolls a drawing into view and waits until it is there. */
export async function drawing(page: Page, chart: string): Promise<Locator> {
  const stage = page.locator(`[data-chart=${chart}]`);
  await stage.scrollIntoViewIfNeeded();
  await stage.locator('canvas, .column').first().waitFor();
  // What is seen is drawn with the next frame.
  await page.evaluate(
    'new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))',
  );
  return stage;
}

/** The colours that are seen at points of a page on one level, each as `r,g,b`. */
export async function coloursAt(page: Page, xs: readonly number[], y: number): Promise<string[]> {
  const left = Math.min(...xs);
  const clip = { x: left, y, width: Math.max(...xs) - left + 1, height: 1 };
  const png = await page.screenshot({ clip });
  const blank = await page.context().newPage();
  const colours = await blank.evaluate<string[]>(`new Promise((resolve) => {
    const image = new Image();
    image.onload = () => {
      const drawn = new OffscreenCanvas(image.width, 1).getContext('2d');
      drawn.drawImage(image, 0, 0);
      const at = (x) => drawn.getImageData(x, 0, 1, 1).data.slice(0, 3).join();
      resolve(${JSON.stringify(xs.map((x) => Math.round(x - left)))}.map(at));
    };
    image.src = 'data:image/png;base64,${png.toString('base64')}';
  })`);
  await blank.close();
  return colours;
}

/** What a dotted name stands for. */
export function valueAt(object: unknown, name: string): unknown {
  return name
    .split('.')
    .reduce<unknown>((part, key) => (part as Record<string, unknown>)[key], object);
}
