/**
 * Bundles what `iopf exec` starts, so that a run loads three files and not three hundred: the
 * command, the engine's thread, the launcher. Names and lines stay readable in stack traces.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { build } from 'esbuild';

rmSync('dist/bundle', { recursive: true, force: true });
const { metafile } = await build({
  entryPoints: ['cli/exec-only', 'exec/run/engine-thread', 'exec/run/launcher'].map(
    (name) => `src/${name}.ts`,
  ),
  outdir: 'dist/bundle',
  entryNames: '[name]',
  chunkNames: '[name]-[hash]',
  bundle: true,
  splitting: true,
  minifySyntax: true,
  minifyWhitespace: false,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  external: ['koffi'],
  // commander is CommonJS and asks for builtins.
  banner: {
    js: "import { createRequire as requireFrom } from 'node:module';\nconst require = requireFrom(import.meta.url);",
  },
  metafile: true,
  logLevel: 'warning',
});

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
