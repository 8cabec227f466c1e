/** A report's file; how it looks in a browser is another test's. */
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { formatReport, livePage, pagePolicy } from '../../src/report/html.js';

const bad = { title: '</script><b>', groups: [{ title: '</script>', runs: [] }], tables: [] };

describe('a report', () => {
  it('asks nothing of a network, and no name in it can end the script', () => {
    const html = formatReport(bad);
    expect(html.match(/<\/script>/g)).toHaveLength(2);
    expect(html).not.toMatch(/(src|href)="(?!data:)/);
    expect(html.replaceAll('http://www.w3.org/2000/svg', '')).not.toMatch(/https?:/);
  });

  it('has its data as it was', () => {
    const [, json] = /id="data">(.*?)<\/script>/s.exec(formatReport(bad))!;
    expect(JSON.parse(json!)).toEqual(bad);
  });

  it('allows its own script and style and no other, with no eval and no handler in an attribute', () => {
    const html = livePage('"a" <title>');
    expect(html).toContain('<title>&quot;a&quot; &lt;title&gt;</title>');
    for (const element of ['script', 'style']) {
      const [, text] = new RegExp(`<${element} id="${element}">(.*?)</${element}>`, 's').exec(
        html,
      )!;
      expect(pagePolicy()).toContain(
        `${element}-src 'sha256-${createHash('sha256').update(text!).digest('base64')}'`,
      );
    }
    expect(pagePolicy()).toMatch(/^default-src 'none'/);
    expect(pagePolicy()).not.toContain('unsafe');
    expect(html).not.toMatch(/<[^>]* on\w+=/);
    expect(html).not.toMatch(/\beval\(|new Function\(/);
  });
});
