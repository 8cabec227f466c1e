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

const CHROMIUM = '/usr/bin/chromium';

export function haveChromium(skipped: string): boolean {
  return available(existsSync(CHROMIUM), skipped, `no ${CHROMIUM}`);
}

export function launchChromium(): Promise<Browser> {
  const quiet = ['--disable-background-networking', '--disable-component-update', '--disable-sync'];
  return chromium.launch({
    executablePath: CHROMIUM,
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
 * Numbers by the names of the JSON, as `within` shows them: of a table its rows, of a list the one
 * row that it is.
 */
export function shownNumbers(page: Page, within: string): Promise<Record<string, unknown>[]> {
  return page.evaluate<
    Record<string, unknown>[]
  >(`[...document.querySelectorAll('${within} tbody tr, ${within} dl.numbers')].map(
    (row) => Object.fromEntries(
      [...row.querySelectorAll('[data-field]')].map(({ dataset }) => [dataset.field, JSON.parse(dataset.value)])))`);
}

/** Scrolls a drawing into view and waits until it is there. */
export async function drawing(page: Page, chart: string): Promise<Locator> {
  const stage = page.locator(`[data-chart=${chart}]`);
  await stage.scrollIntoViewIfNeeded();
  await stage.locator('canvas, .column').first().waitFor();
  // What is seen is drawn with the next frame.
  await page.waitForTimeout(300);
  return stage;
}

/** The colour that is seen at a point of a page, as `r,g,b`. */
export async function colourAt(page: Page, x: number, y: number): Promise<string> {
  const png = await page.screenshot({ clip: { x, y, width: 1, height: 1 } });
  const blank = await page.context().newPage();
  const colour = await blank.evaluate<string>(`new Promise((resolve) => {
    const image = new Image();
    image.onload = () => {
      const drawn = new OffscreenCanvas(1, 1).getContext('2d');
      drawn.drawImage(image, 0, 0);
      resolve(drawn.getImageData(0, 0, 1, 1).data.slice(0, 3).join());
    };
    image.src = 'data:image/png;base64,${png.toString('base64')}';
  })`);
  await blank.close();
  return colour;
}

/** What a dotted name stands for. */
export function valueAt(object: unknown, name: string): unknown {
  return name
    .split('.')
    .reduce<unknown>((part, key) => (part as Record<string, unknown>)[key], object);
}
