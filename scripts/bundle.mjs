/**
 * Bundles what `iopf exec` starts, so that a run loads a few files and not three hundred: the
 * command, and the entry points of threads. Names and lines stay readable in stack traces.
 */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { build } from 'esbuild';

const options = {
  outdir: 'dist/bundle',
  entryNames: '[name]',
  bundle: true,
  minifySyntax: true,
  minifyWhitespace: false,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  logLevel: 'warning',
};

rmSync('dist/bundle', { recursive: true, force: true });
const { metafile } = await build({
  ...options,
  entryPoints: [
    'src/cli/exec-only.ts',
    'src/exec/run/engine-thread.ts',
    'src/mm/process/transfer-thread.ts',
  ],
  splitting: true,
  external: ['koffi'],
  // commander is CommonJS and asks for builtins.
  banner: {
    js: "import { createRequire as requireFrom } from 'node:module';\nconst require = requireFrom(import.meta.url);",
  },
  metafile: true,
});
// A thread's file that is no entry point would be looked for beside the bundle in vain.
for (const name of readdirSync('dist/bundle').filter((file) => file.endsWith('.js')))
  for (const [, started] of readFileSync(`dist/bundle/${name}`, 'utf8').matchAll(
    /new (?:Worker|URL)\(\s*(?:new URL\(\s*)?["']\.\/([\w-]+\.js)["']/g,
  ))
    if (!existsSync(`dist/bundle/${started}`))
      throw new Error(`${name} starts ${started}, which is no entry point of the bundle`);

// Whose code went in, with the licence that wants to be kept with it.
const packages = new Set(
  Object.keys(metafile.inputs).flatMap((path) => /node_modules\/([^@/]+)\//.exec(path)?.[1] ?? []),
);
writeFileSync(
  'dist/bundle/LICENSES',
  [...packages]
    .map((name) => `${name}\n\n${readFileSync(`node_modules/${name}/LICENSE`, 'utf8')}`)
    .join('\n'),
);
