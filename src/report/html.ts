/**
 * The page of reports and live runs: one self-contained file, with the style and the script that
 * the build has bundled.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { packageFile } from '../input/package-file.js';
import { pageDocument } from './page-document.js';
import type { Report } from './report.js';

export type { Report } from './report.js';

interface Bundle {
  readonly style: string;
  readonly script: string;
  readonly policy: string;
}

let bundle: Bundle | null = null;

export function formatReport(report: Report): string {
  return pageDocument({ ...readBundle(), title: report.title, data: report });
}

/** The page of a live view: it listens to `events` beside its own address. */
export function livePage(title: string): string {
  return pageDocument({ ...readBundle(), title, data: null });
}

/** Content-Security-Policy of the page: its one script, its one style, and whoever serves it. */
export function pagePolicy(): string {
  return readBundle().policy;
}

function readBundle(): Bundle {
  bundle ??= load();
  return bundle;
}

function load(): Bundle {
  const [style, script] = ['page.css', 'page.js'].map((name) =>
    readFileSync(packageFile(`dist/src/page/${name}`), 'utf8').trim(),
  );
  return { style: style!, script: script!, policy: policyOf(style!, script!) };
}

function policyOf(style: string, script: string): string {
  const hash = (text: string): string =>
    `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
  return [
    "default-src 'none'",
    `script-src ${hash(script)}`,
    `style-src ${hash(style)}`,
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
}
