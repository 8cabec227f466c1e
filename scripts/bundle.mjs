/**
 * Bundles the `iopf` command with all that `iopf exec` needs, so that a run loads one file and not
 * three hundred, and the threads that it may start. Names and lines stay readable in stack traces.
 *
 * They are CommonJS: a module's import of one of Node's makes all that it exports, streams for one.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { build } from 'esbuild';

const FOLDER = 'dist/bundle';
/** Loaded from where they are: what few runs need, and what has a binary. */
const external = ['jiti', 'koffi', 'yaml', 'zod'];

/** The other commands are loaded as modules. */
const otherCommands = {
  name: 'other commands',
  setup({ onResolve }) {
    onResolve({ filter: /^\.\/all\.js$/ }, () => ({ path: '../src/cli/all.js', external: true }));
  },
};

/** What commander starts programs with, which iopf never has it do, is large. */
const noChildProcess = {
  name: 'no child_process',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:child_process$/ }, ({ importer }) =>
      importer.includes('/commander/') ? { path: 'none', namespace: 'none' } : null,
    );
    onLoad({ filter: /.*/, namespace: 'none' }, () => ({ contents: '' }));
  },
};

rmSync(FOLDER, { recursive: true, force: true });
const { metafile, outputFiles } = await build({
  entryPoints: {
    iopf: 'src/cli/main.ts',
    'engine-thread': 'src/exec/run/engine-thread.ts',
    'transfer-thread': 'src/mm/process/transfer-thread.ts',
  },
  outdir: FOLDER,
  outExtension: { '.js': '.cjs' },
  bundle: true,
  minifySyntax: true,
  format: 'cjs',
  platform: 'node',
  target: 'node20',
  external,
  plugins: [otherCommands, noChildProcess],
  define: { 'import.meta.url': 'bundleUrl' },
  banner: { js: "const bundleUrl = require('node:url').pathToFileURL(__filename).href;" },
  logLevel: 'warning',
  metafile: true,
  write: false,
});

// A thread's file has its place and name here, and must be there.
mkdirSync(FOLDER, { recursive: true });
const files = outputFiles.map(({ path, text }) => ({ name: basename(path), text }));
for (const { name, text } of files)
  writeFileSync(
    `${FOLDER}/${name}`,
    text.replaceAll(/(?<=new URL\(["']\.\/)([\w-]+)\.js(?=["'])/g, (_, started) => {
      if (files.some((file) => file.name === `${started}.cjs`)) return `${started}.cjs`;
      throw new Error(`${name} starts ${started}, which is no entry point of the bundle`);
    }),
  );

// Whose code went in, with the licence that wants to be kept with it.
const packages = new Set(
  Object.keys(metafile.inputs).flatMap((path) => /node_modules\/([^@/]+)\//.exec(path)?.[1] ?? []),
);
writeFileSync(
  `${FOLDER}/LICENSES`,
  [...packages]
    .map((name) => `${name}\n\n${readFileSync(`node_modules/${name}/LICENSE`, 'utf8')}`)
    .join('\n'),
);
