/** Saves what is shown as the same self-contained file that `--html` writes. */

import { pageDocument } from '../report/page-document.js';
import type { Report } from '../report/report.js';
import { make } from './dom.js';

export function save(report: Report): void {
  const text = (id: string): string => document.getElementById(id)!.textContent ?? '';
  const policy = document.querySelector<HTMLMetaElement>('meta[http-equiv]')!.content;
  const html = pageDocument({
    title: report.title,
    policy,
    style: text('style'),
    script: text('script'),
    data: report,
  });
  const address = URL.createObjectURL(new Blob([html], { type: 'text/html' }));
  const link = make('a', {
    href: address,
    download: `${report.title.replace(/[^\w.-]+/g, '-')}.html`,
  });
  link.click();
  // Not at once: the browser has yet to read it.
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
