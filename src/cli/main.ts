#!/usr/bin/env node
/**
 * The entry point of the `iopf` command. A test suite has a thousand small runs, so `exec` is
 * bundled with it in one file (scripts/bundle.mjs); all else is loaded as modules.
 */
import '../exec/run/standard-streams.js';

const [name] = process.argv.slice(2);
const isExec = name === 'exec' || name === '--version' || name === '-V';
void (isExec ? import('./exec-only.js') : import('./all.js'));
