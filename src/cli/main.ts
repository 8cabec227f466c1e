#!/usr/bin/env node
/**
 * The entry point of the `iopf` command. A test suite has a thousand small runs, so `exec` is
 * loaded as one file with all that it needs (docs/architecture.md); all else as modules.
 */
import '../exec/run/standard-streams.js';
import { pathToFileURL } from 'node:url';
import { packageFile } from '../input/package-file.js';

const [name] = process.argv.slice(2);
const isBundled = name === 'exec' || name === '--version' || name === '-V';
await import(isBundled ? pathToFileURL(packageFile('dist/bundle/exec-only.js')).href : './all.js');
