#!/usr/bin/env node
/** The entry point of the `iopf` command. */
import '../exec/run/standard-streams.js';

await import('./iopf.js');
