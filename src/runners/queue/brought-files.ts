/** Files and modules that came with jobs, where a thread finds them. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { packageFile } from '../../input/package-file.js';
import type { RunStore } from './run-store.js';

export class BroughtFiles {
  private readonly folder = mkdtempSync(join(tmpdir(), 'iopf-worker-'));
  /** By run and name below its folder. */
  private readonly fetched = new Map<string, Promise<string>>();

  /** Paths of the files by their names. Throws where one is not there. */
  async of(store: RunStore, digests: Readonly<Record<string, string>>) {
    const places: Record<string, string> = {};
    for (const [name, digest] of Object.entries(digests))
      places[name] = await this.fetch(store, digest, 'file');
    return places;
  }

  /** URLs of modules by those that they have where they come from. */
  async modulesOf(store: RunStore, digests: Readonly<Record<string, string>>) {
    const places: Record<string, string> = {};
    for (const [url, digest] of Object.entries(digests))
      places[url] = pathToFileURL(
        await this.fetch(store, digest, basename(fileURLToPath(url))),
      ).href;
    return places;
  }

  forget(run: string): void {
    for (const key of this.fetched.keys()) if (key.startsWith(run)) this.fetched.delete(key);
    rmSync(join(this.folder, run), { recursive: true, force: true });
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  private fetch(store: RunStore, digest: string, name: string): Promise<string> {
    const path = join(this.folder, store.id, digest, name);
    let known = this.fetched.get(`${store.id}/${digest}/${name}`);
    known ??= this.write(store, digest, path);
    this.fetched.set(`${store.id}/${digest}/${name}`, known);
    return known;
  }

  private async write(store: RunStore, digest: string, path: string): Promise<string> {
    const bytes = await store.file(digest);
    if (bytes === null) throw new Error(`a file of the job did not come with it: ${digest}`);
    mkdirSync(join(path, '..'), { recursive: true, mode: 0o700 });
    this.linkPackage(join(this.folder, store.id));
    writeFileSync(path, bytes, { mode: 0o600 });
    return path;
  }

  /** Modules import iopf by its name. */
  private linkPackage(folder: string): void {
    mkdirSync(join(folder, 'node_modules'), { recursive: true });
    try {
      symlinkSync(packageFile('.'), join(folder, 'node_modules', 'iopf'));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
}
