/**
 * Writes docs/errors.md: every message about what a user can mend, as the sources have them.
 * `--check`: exit code 1 where the file is not what would be written.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';

const FILE = 'docs/errors.md';
const kinds = new Set([
  'UserError',
  'OptionError',
  'InvalidArgumentError',
  'ScenarioMistake',
  'DeviceMistake',
]);

/** By the folder of the source; the first that fits. */
const areas = [
  ['src/cli/', 'The command line'],
  ['src/exec/run/', '`exec`: the host, and the start of a run'],
  ['src/exec/machine/', '`exec`: devices and the machine file'],
  ['src/exec/', '`exec`: while it runs'],
  ['src/device/', 'Options of devices'],
  ['src/kit/', 'Devices of your own'],
  ['src/sim/', '`compare`: scenarios, policies and models'],
  ['src/trace/', 'Recordings and traces'],
  ['src/check/', '`check`: scenarios and variants of a user'],
  ['src/runners/', 'Jobs on other machines'],
  ['src/', 'Files and views'],
];

/** The name that stands for a part that is not known before the error: `<path>` for `this.path`. */
function placeholder(node) {
  if (ts.isIdentifier(node)) return constants.get(node.text) ?? `<${node.text}>`;
  if (ts.isPropertyAccessExpression(node)) return `<${node.name.text}>`;
  if (ts.isElementAccessExpression(node) || ts.isNonNullExpression(node))
    return placeholder(node.expression);
  if (ts.isAsExpression(node) || ts.isParenthesizedExpression(node))
    return placeholder(node.expression);
  if (ts.isSpreadElement(node)) return placeholder(node.expression);
  if (ts.isArrayLiteralExpression(node) && node.elements.length === 1)
    return placeholder(node.elements[0]);
  if (ts.isCallExpression(node)) {
    const { expression: callee, arguments: words } = node;
    const isMethod = ts.isPropertyAccessExpression(callee);
    if (isMethod && ['join', 'keys', 'slice', 'map', 'trim'].includes(callee.name.text))
      return placeholder(callee.expression);
    return words.length > 0 && !isMethod ? placeholder(words[0]) : '…';
  }
  return '…';
}

/** Constants of the sources, `MOST`, that messages name. */
const constants = new Map();

function noteConstants(text) {
  for (const [, name, value] of text.matchAll(/^(?:export )?const ([A-Z_]+) = ('[^']*'|\d+);/gm))
    constants.set(name, value.replace(/^'|'$/g, ''));
}

/** A message with placeholders; null: it is made elsewhere. Alternatives are several. */
function textsOf(node) {
  if (ts.isStringLiteral(node) || ts.isNoSubstitutionTemplateLiteral(node)) return [node.text];
  if (ts.isParenthesizedExpression(node)) return textsOf(node.expression);
  if (ts.isConditionalExpression(node)) {
    const [yes, no] = [textsOf(node.whenTrue), textsOf(node.whenFalse)];
    return yes === null && no === null ? null : [...(yes ?? []), ...(no ?? [])];
  }
  if (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.PlusToken)
    return product(partsOf(node.left), partsOf(node.right));
  if (ts.isTemplateExpression(node)) {
    let texts = [node.head.text];
    for (const { expression, literal } of node.templateSpans)
      texts = product(texts, partsOf(expression)).map((text) => text + literal.text);
    return texts;
  }
  return null;
}

const partsOf = (node) => textsOf(node) ?? [placeholder(node)];
const product = (left, right) => left.flatMap((a) => right.map((b) => a + b));

/** Messages of a source file; those that only pass on another's text are left out. */
export function messagesOf(name, text) {
  const source = ts.createSourceFile(name, text, ts.ScriptTarget.ES2022, true);
  const found = [];
  const visit = (node) => {
    if (ts.isNewExpression(node) && kinds.has(node.expression.getText(source))) {
      const [message] = node.arguments ?? [];
      for (const each of (message && textsOf(message)) ?? [])
        if (/[a-z]{2}/.test(each)) found.push(each);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

function document() {
  const byArea = new Map(areas.map(([, title]) => [title, []]));
  const sources = readdirSync('src', { recursive: true })
    .map((name) => join('src', name))
    .filter((name) => name.endsWith('.ts') && !name.startsWith('src/page/'))
    .sort()
    .map((name) => ({ name, text: readFileSync(name, 'utf8') }));
  for (const { text } of sources) noteConstants(text);
  for (const { name, text } of sources) {
    const [, title] = areas.find(([folder]) => name.startsWith(folder));
    byArea.get(title).push(...messagesOf(name, text));
  }
  const sections = [...byArea]
    .filter(([, messages]) => messages.length > 0)
    .map(([title, messages]) => {
      const rows = [...new Set(messages)].sort().map((each) => `| ${cell(each)} |`);
      return `## ${title}\n\n| message |\n|---|\n${rows.join('\n')}\n`;
    });
  return `${HEAD}\n${sections.join('\n')}`;
}

const cell = (text) =>
  `\`${text.replaceAll('`', "'").replaceAll('|', '\\|').replaceAll('\n', ' ')}\``;

const HEAD = `# Errors

<!-- Written by scripts/errors.mjs from the sources: \`npm run errors\`. -->

What a user can mend is one line on stderr, \`iopf: MESSAGE\`, and an exit code
([formats.md](formats.md#exit-codes)): 125 of \`exec\` (126 and 127 where the program cannot be
started), 2 of all other commands. The messages say what is wrong, where, and what to do. \`<words>\`
stand for what is put in, \`…\` for what depends on the host.

Not here: mistakes that the parsers of the command line and of YAML find by themselves, each with
the option or the line; errnos, which the program gets and not the user
([limits.md](limits.md) where they differ from a kernel's); and \`defect in iopf:\`, which is worth a
report.
`;

if (process.argv[1] === import.meta.filename) {
  const text = document();
  if (process.argv[2] !== '--check') writeFileSync(FILE, text);
  else if (readFileSync(FILE, 'utf8') !== text) {
    console.error(`${FILE} is not what the sources say: npm run errors`);
    process.exitCode = 1;
  }
}
