/** The files that come with iopf beside its code. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

let root: string | null = null;

/**
 * The path of a file of this package (`models/fast.yaml`): code runs from source, compiled and
 * bundled, at several depths below the folder of package.json.
 */
export function packageFile(name: string): string {
  if (root === null) {
    root = dirname(fileURLToPath(import.meta.url));
    while (!existsSync(join(root, 'package.json'))) root = dirname(root);
  }
  return join(root, name);
}
