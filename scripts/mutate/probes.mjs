/** Calls that tell which tests get to a mutation: only those need to run against it. */
import { transformSync } from 'esbuild';
import ts from 'typescript';

/** The function that each probe calls with the id of its mutant. */
export const PROBE = '__mutant';

/**
 * The text with a probe before the statement, or in the expression, of each mutant. `reached` of a
 * mutant becomes false where no probe can stand: every test that loads the file then counts.
 */
export function withProbes(text, mutants) {
  const source = ts.createSourceFile('room.ts', text, ts.ScriptTarget.Latest, true);
  const inserts = [];
  for (const mutant of mutants) {
    const before = placeOf(source, mutant);
    mutant.hasProbe = before !== null;
    if (before === null) continue;
    const call = `${PROBE}(${mutant.id})`;
    const [open, close] = {
      list: [`${call};`, ''],
      lone: [`{${call};`, '}'],
      value: [`(${call},(`, '))'],
    }[before.kind];
    inserts.push({ at: before.start, what: open, rank: 0 });
    if (close !== '') inserts.push({ at: before.end, what: close, rank: 1 });
  }
  // From the back, so that places stay; where two meet, what closes comes first in the text.
  inserts.sort((a, b) => b.at - a.at || a.rank - b.rank);
  let probed = text;
  for (const { at, what } of inserts) probed = probed.slice(0, at) + what + probed.slice(at);
  try {
    transformSync(probed, { loader: 'ts', logLevel: 'silent' });
    return probed;
  } catch {
    for (const mutant of mutants) mutant.hasProbe = false;
    return text;
  }
}

function placeOf(source, { start, end }) {
  let node = source;
  const narrow = (each) => {
    if (each.getStart(source) > start || each.getEnd() < end) return;
    node = each;
    ts.forEachChild(each, narrow);
  };
  ts.forEachChild(source, narrow);
  for (; node.parent !== undefined; node = node.parent) {
    const kind = kindOf(node);
    if (kind === 'none') return null;
    if (kind !== null) return { kind, start: node.getStart(source), end: node.getEnd() };
  }
  return null;
}

/** How a probe can stand at a node; null: look further out; none: nothing further out is right. */
function kindOf(node) {
  const { parent } = node;
  if (ts.isPropertyDeclaration(parent) || ts.isParameter(parent)) return 'none';
  if (ts.isArrowFunction(parent) && parent.body === node && !ts.isBlock(node)) return 'value';
  if (!ts.isStatement(node) || ts.isBlock(node)) return null;
  if (ts.isBlock(parent) || ts.isSourceFile(parent) || ts.isCaseOrDefaultClause(parent))
    return 'list';
  return ts.isIfStatement(node) && ts.isIfStatement(parent) ? null : 'lone';
}
