/** What can be changed in a file so that its tests should notice, and a sample of that. */
import ts from 'typescript';

const { SyntaxKind: Kind } = ts;

/** What stands for an operator. */
const operators = new Map([
  [Kind.PlusToken, '-'],
  [Kind.MinusToken, '+'],
  [Kind.AsteriskToken, '/'],
  [Kind.SlashToken, '*'],
  [Kind.LessThanToken, '<='],
  [Kind.LessThanEqualsToken, '<'],
  [Kind.GreaterThanToken, '>='],
  [Kind.GreaterThanEqualsToken, '>'],
  [Kind.EqualsEqualsEqualsToken, '!=='],
  [Kind.ExclamationEqualsEqualsToken, '==='],
  [Kind.AmpersandAmpersandToken, '||'],
  [Kind.BarBarToken, '&&'],
  [Kind.AmpersandToken, '|'],
  [Kind.BarToken, '&'],
  [Kind.PlusEqualsToken, '-='],
  [Kind.MinusEqualsToken, '+='],
]);

/** All mutations of a file's text: `{ start, end, to, line, what }`, in the order of the text. */
export function mutationsOf(text) {
  const source = ts.createSourceFile('room.ts', text, ts.ScriptTarget.Latest, true);
  const found = [];
  const add = (node, to) => {
    const [start, end] = [node.getStart(source), node.getEnd()];
    const line = source.getLineAndCharacterOfPosition(start).line + 1;
    const from = text.slice(start, end).replace(/\s+/g, ' ');
    found.push({ start, end, to, line, what: `${from}  →  ${to === ';' ? 'removed' : to}` });
  };
  const visit = (node) => {
    if (ts.isTypeNode(node) || ts.isImportDeclaration(node) || ts.isInterfaceDeclaration(node))
      return;
    mutate(node, add, (each) => text.slice(each.getStart(source), each.getEnd()));
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found.sort((a, b) => a.start - b.start);
}

function mutate(node, add, textOf) {
  if (ts.isBinaryExpression(node)) {
    const to = operators.get(node.operatorToken.kind);
    if (to !== undefined) add(node.operatorToken, to);
  } else if (ts.isNumericLiteral(node)) {
    const value = Number(node.text);
    add(node, `${value === 0 ? 1 : value + 1}`);
  } else if (node.kind === Kind.TrueKeyword) add(node, 'false');
  else if (node.kind === Kind.FalseKeyword) add(node, 'true');
  else if (ts.isIfStatement(node) || ts.isWhileStatement(node))
    add(node.expression, `!(${textOf(node.expression)})`);
  else if (ts.isConditionalExpression(node)) add(node.condition, `!(${textOf(node.condition)})`);
  else if (ts.isExpressionStatement(node) && !isSuper(node)) add(node, ';');
  else if (ts.isContinueStatement(node)) add(node, ';');
}

const isSuper = ({ expression }) =>
  ts.isCallExpression(expression) && expression.expression.kind === Kind.SuperKeyword;

/** Numbers from 0 to 1 by a seed (mulberry32). */
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** `count` mutations of these files' texts, at most one a line. */
export function sample(texts, seed, count) {
  const next = random(seed);
  const all = [...texts].flatMap(([file, text]) =>
    mutationsOf(text).map((each) => ({ file, ...each })),
  );
  for (let i = all.length - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1));
    [all[i], all[j]] = [all[j], all[i]];
  }
  const lines = new Set();
  return all
    .filter(({ file, line }) => !lines.has(`${file}:${line}`) && lines.add(`${file}:${line}`))
    .slice(0, count);
}
