/** The page by itself, on the least of a DOM; a real browser is another test's. */
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { comparisonReport } from '../../src/report/comparison-report.js';
import { formatReport } from '../../src/report/html.js';
import { compare } from '../../src/sim/compare.js';

class FakeNode {
  readonly attributes: Record<string, string> = {};
  readonly children: FakeNode[] = [];
  readonly dataset: Record<string, string> = {};
  readonly style: Record<string, string> = {};
  readonly listeners: Record<string, (event: unknown) => void> = {};
  hidden = false;
  selectedIndex = 0;
  text = '';

  constructor(readonly tag: string) {}

  get textContent(): string {
    return this.text;
  }
  set textContent(text: string) {
    this.text = text;
    this.children.length = 0;
  }
  setAttribute(name: string, value: unknown): void {
    this.attributes[name] = String(value);
  }
  append(child: FakeNode | string): void {
    if (typeof child !== 'string') this.children.push(child);
  }
  addEventListener(name: string, listener: (event: unknown) => void): void {
    this.listeners[name] = listener;
  }
  getBoundingClientRect(): { left: number; top: number; width: number; height: number } {
    return { left: 0, top: 0, width: 900, height: 230 };
  }
  all(tag: string): FakeNode[] {
    return this.children.flatMap((child) => [...(child.tag === tag ? [child] : []), ...child.all(tag)]);
  }
}

function load(html: string): { main: FakeNode; tip: FakeNode } {
  const main = new FakeNode('main');
  const tip = new FakeNode('div');
  const data = new FakeNode('script');
  data.text = /id="data">(.*?)<\/script>/s.exec(html)![1]!;
  const document = {
    getElementById: (id: string) => (id === 'tip' ? tip : data),
    querySelector: () => main,
    createElement: (tag: string) => new FakeNode(tag),
    createElementNS: (_space: string, tag: string) => new FakeNode(tag),
  };
  const script = html.slice(html.lastIndexOf('<script>') + 8, html.lastIndexOf('</script>'));
  runInNewContext(script, { document, innerWidth: 900, innerHeight: 700 });
  return { main, tip };
}

const order = {
  inputs: ['examples/rfc-v3.yaml'],
  policies: ['static', 'iopf', 'iopf:premap=8'],
  model: null,
  seed: 1,
  jobs: 1,
  withMaps: true,
};

describe('a report', () => {
  it('shows the numbers of the JSON, all of them', async () => {
    const result = await compare(order);
    const { main } = load(formatReport(comparisonReport(result)));
    const cells = main
      .all('td')
      .map(({ attributes }) => [attributes['data-field'], attributes['data-value']]);
    const { runs, published, publishedHostSva } = result.comparison;
    const expected = [
      ...runs.map(({ policy, input: _, ...rest }) => ({ policy, ...rest })),
      ...published!,
      ...publishedHostSva!,
    ].flatMap((row) => Object.entries(row).map(([name, value]) => [name, JSON.stringify(value)]));
    expect(cells).toEqual(expected);
  });

  it('draws each chart, and tells the values of the point that is pointed at', async () => {
    const { main, tip } = load(formatReport(comparisonReport(await compare(order))));
    const charts = main.all('svg');
    expect(charts).toHaveLength(4);
    for (const chart of charts)
      expect(JSON.stringify([...chart.all('path'), ...chart.all('rect')])).not.toContain('NaN');
    charts[0]!.listeners['pointermove']!({ clientX: 880, clientY: 100 });
    expect(tip.hidden).toBe(false);
    expect(tip.text).toMatch(/^static: resident 16 GiB, pinned 16 GiB$/m);
    expect(tip.text).toMatch(/^iopf: resident 4\.1 MiB, pinned 0 B$/m);
    charts[0]!.listeners['pointerleave']!({});
    expect(tip.hidden).toBe(true);
    const cell = charts[3]!.all('rect')[0]!;
    cell.listeners['pointermove']!({ clientX: 1, clientY: 1 });
    expect(tip.text).toMatch(/touched \d+, mapped \d+, faulted \d+, taken away 0 pages/);
  });

  it('asks nothing of a network, and no name in it can end the script', () => {
    const html = formatReport({
      title: '</script><b>',
      groups: [{ title: '</script>', runs: [] }],
      tables: [],
    });
    expect(html.match(/<\/script>/g)).toHaveLength(2);
    expect(html).not.toMatch(/(src|href)="(?!data:)/);
    expect(html.replace('http://www.w3.org/2000/svg', '')).not.toMatch(/https?:/);
  });
});
