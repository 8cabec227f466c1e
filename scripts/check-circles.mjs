// Circles of imports in src, types included, and how much a file of src/vfio imports. Part of
// `npm run layers`; dependency-cruiser finds circles, but not how many files are in one.
import { cruise } from 'dependency-cruiser';

/** The most files of a circle, which may only be one of types. */
const CIRCLE_MOST = 5;
/** The most files that a file of src/vfio imports. */
const IMPORTS_MOST = 15;

const { output } = await cruise(['src'], {
  tsPreCompilationDeps: true,
  tsConfig: { fileName: 'tsconfig.json' },
  doNotFollow: { path: 'node_modules' },
  enhancedResolveOptions: { extensions: ['.ts', '.js'] },
});

/** By file, what it imports: all of it, and what is there when it runs. */
const all = new Map();
const values = new Map();
for (const { source, dependencies } of output.modules) {
  if (!source.startsWith('src/')) continue;
  const own = dependencies.filter(({ resolved }) => resolved.startsWith('src/'));
  const running = own.filter(({ dependencyTypes }) => !dependencyTypes.includes('type-only'));
  all.set(source, new Set(own.map(({ resolved }) => resolved)));
  values.set(source, new Set(running.map(({ resolved }) => resolved)));
}

/** Files that reach one another, as lists of at least two (Tarjan). */
function circles(graph) {
  const found = [];
  const index = new Map();
  const low = new Map();
  const stack = [];
  const visit = (file) => {
    index.set(file, index.size);
    low.set(file, index.get(file));
    stack.push(file);
    for (const next of graph.get(file) ?? []) {
      if (!index.has(next)) visit(next);
      if (stack.includes(next)) low.set(file, Math.min(low.get(file), low.get(next)));
    }
    if (low.get(file) !== index.get(file)) return;
    const circle = stack.splice(stack.indexOf(file));
    if (circle.length > 1) found.push(circle.sort());
  };
  for (const file of graph.keys()) if (!index.has(file)) visit(file);
  return found;
}

const problems = [
  ...circles(all)
    .filter((circle) => circle.length > CIRCLE_MOST)
    .map((circle) =>
      `a circle of ${circle.length} files, at most ${CIRCLE_MOST}`.concat(
        ...circle.map((file) => `\n    ${file}`),
      ),
    ),
  ...circles(values).map((circle) => `a circle that is not of types alone: ${circle.join(', ')}`),
  ...[...all]
    .filter(([file, imports]) => file.startsWith('src/vfio/') && imports.size > IMPORTS_MOST)
    .map(([file, imports]) => `${file} imports ${imports.size} files, at most ${IMPORTS_MOST}`),
];
for (const problem of problems) console.error(`  ${problem}`);
if (problems.length > 0) process.exit(1);
console.log('no circle of more than 5 files, and none of values');
