/** Which devices of a machine are of users' modules, and the files of these. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { UserError } from '../../input/user-error.js';
import { resolvePackage } from '../../input/user-module.js';
import type { DeviceSpec } from '../machine/machine-spec.js';

/** A device whose kind is in a module. Plain data: it crosses threads. */
export interface ModuleDevice {
  readonly address: string;
  /** As the user named the kind: `./ring.ts`, `./two.ts#ring`, a package. */
  readonly kind: string;
  readonly file: string;
}

/** Those of `devices`, none of which is a kind of iopf's own. Throws UserError. */
export async function findModules(devices: readonly DeviceSpec[]): Promise<ModuleDevice[]> {
  const found: ModuleDevice[] = [];
  for (const { address, kind, where } of devices) {
    const file = await fileOf(kind, where);
    // No package either: the machine has no such kind, and says so.
    if (file !== null) found.push({ address, kind, file });
  }
  return found;
}

async function fileOf(kind: string, where: string): Promise<string | null> {
  const [path = ''] = kind.split('#');
  if (/^\.{0,2}\/|\.[cm]?[jt]s$/.test(path)) {
    const file = resolve(path);
    if (!existsSync(file)) throw new UserError(`${where}: there is no file ${path}`);
    return file;
  }
  if (!/^(@[\w.-]+\/)?[\w.-]+(\/[\w./-]+)?$/.test(path)) return null;
  const url = await resolvePackage(path, process.cwd());
  if (url === null || url.startsWith('node:')) return null;
  return url.startsWith('file:') ? fileURLToPath(url) : url;
}
