/**
 * The page as a document: its style, its script, and what it shows. Pure, as the page itself writes
 * such a file when it is saved.
 */

export interface PageParts {
  readonly title: string;
  /** Content-Security-Policy of the page: what it may do. */
  readonly policy: string;
  readonly style: string;
  readonly script: string;
  /** What is shown, `Report`; null: the page connects to the run that serves it. */
  readonly data: unknown;
}

export function pageDocument({ data, policy, script, style, title }: PageParts): string {
  // Nothing in the data may end the script element.
  const json = JSON.stringify(data).replaceAll('<', '\\u003c');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${escapeHtml(policy)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>${escapeHtml(title)}</title>
<style id="style">${style}</style>
</head>
<body>
<noscript>This page draws with a script, which is turned off here.</noscript>
<script type="application/json" id="data">${json}</script>
<script id="script">${script}</script>
</body>
</html>
`;
}

function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('"', '&quot;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;');
}
