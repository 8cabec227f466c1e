/**
 * Writes dist/schemas: JSON Schema of what `--json` writes and of what users write, a file for each
 * kind of document.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { fileSchemas } from '../dist/src/cli/json/file-schemas.js';
import { jsonSchemas } from '../dist/src/cli/json/schemas.js';

rmSync('dist/schemas', { recursive: true, force: true });
mkdirSync('dist/schemas');
for (const [kind, schema] of Object.entries(jsonSchemas()))
  writeFileSync(`dist/schemas/iopf.${kind}-1.json`, `${JSON.stringify(schema, null, 2)}\n`);
for (const [kind, schema] of Object.entries(fileSchemas()))
  writeFileSync(`dist/schemas/iopf.${kind}.json`, `${JSON.stringify(schema, null, 2)}\n`);
