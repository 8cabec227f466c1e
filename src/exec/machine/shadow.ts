/**
 * The shadow of /dev/vfio and /sys: the paths by which a program finds the devices of the run.
 *
 * It is a real directory tree in a temporary place, so that directory descriptors, relative opens
 * and readdir work by themselves; only names are translated. Directories that the host has too show
 * both.
 */

import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, relative } from 'node:path';
import { UserError } from '../../input/user-error.js';
import type { DeviceNode } from './device-node.js';

/** A name that the shadow answers. */
export type ShadowNode =
  | { readonly kind: 'directory' }
  | { readonly kind: 'file' }
  | { readonly kind: 'link'; readonly target: string }
  | { readonly kind: 'device'; readonly device: DeviceNode }
  /** vfio-pci's `unbind`, which takes a device from VFIO when its address is written there. */
  | { readonly kind: 'unbind' }
  /**
   * A file of the host that is reached through `..` from a directory of ours, which the kernel
   * could not follow.
   */
  | { readonly kind: 'outside' };

const LINKS_MAX = 40;

export class ShadowTree {
  /** Where the tree lies on the host. */
  readonly root: string;
  /** The same as bytes, one in each character. */
  private readonly rootBytes: string;
  private readonly nodes = new Map<string, ShadowNode>();
  /** Last names of device nodes. */
  private readonly deviceNames = new Set<string>();
  /** `/` and the name of each node that lies in a directory of the host. */
  private gates: readonly string[] = [];

  /** `announce` is told the folder before it is made. Throws UserError. */
  constructor(announce: (folder: string) => void = () => {}) {
    this.root = temporaryFolder(announce);
    this.rootBytes = Buffer.from(this.root).toString('latin1');
  }

  /** Makes a directory and those above it. */
  directory(path: string): void {
    if (this.nodes.has(path) || path === '/') return;
    this.directory(dirname(path));
    mkdirSync(this.own(path), { recursive: true });
    this.nodes.set(path, { kind: 'directory' });
  }

  file(path: string, content: string | Uint8Array): void {
    this.directory(dirname(path));
    writeFileSync(this.own(path), content);
    this.nodes.set(path, { kind: 'file' });
  }

  link(path: string, targetPath: string): void {
    this.directory(dirname(path));
    const target = relative(dirname(path), targetPath);
    symlinkSync(target, this.own(path));
    this.nodes.set(path, { kind: 'link', target });
  }

  device(path: string, device: DeviceNode): void {
    this.directory(dirname(path));
    writeFileSync(this.own(path), '');
    this.nodes.set(path, { kind: 'device', device });
    this.deviceNames.add(basename(path));
  }

  unbind(path: string): void {
    this.file(path, '');
    this.nodes.set(path, { kind: 'unbind' });
  }

  /**
   * The tree is complete: directories that exist on the host get the host's entries beside ours, or
   * stay the host's.
   */
  mergeHost(listed: readonly string[]): void {
    for (const path of [...this.nodes.keys()]) {
      if (this.nodes.get(path)!.kind !== 'directory' || !existsSync(path)) continue;
      if (!listed.includes(path)) {
        this.nodes.delete(path);
        continue;
      }
      for (const entry of readdirSync(path))
        if (!this.nodes.has(join(path, entry)))
          symlinkSync(join(path, entry), this.own(join(path, entry)));
    }
    const outermost = [...this.nodes.keys()].filter((path) => !this.nodes.has(dirname(path)));
    const names = new Set(outermost.map((path) => `/${basename(path)}`));
    this.gates = [...names].filter(
      (name) => ![...names].some((other) => other !== name && name.startsWith(other)),
    );
  }

  /**
   * Whether an absolute path can be ours at all: nobody gets in but through a gate. Hot: every
   * program opens hundreds of other files.
   */
  mayName(path: string): boolean {
    for (let index = 0; index < this.gates.length; index++)
      if (path.includes(this.gates[index]!)) return true;
    return false;
  }

  /** Whether a relative path can end in a device node. */
  mayNameDevice(path: string): boolean {
    return this.deviceNames.has(path.slice(path.lastIndexOf('/') + 1));
  }

  /**
   * Where a path that was resolved lies on the host, as bytes; one that is outside lies where it
   * says.
   */
  host(path: string): string {
    return this.nodes.has(path) ? this.rootBytes + path : path;
  }

  private own(path: string): string {
    return this.root + path;
  }

  /** The path in the program's eyes of a host path inside the tree, or the path itself. */
  program(path: string): string {
    return path.startsWith(`${this.root}/`) ? path.slice(this.root.length) : path;
  }

  /** Follows an absolute path; null where it is not ours. `follow`: also a link in last place. */
  resolve(path: string, follow: boolean): { path: string; node: ShadowNode } | null {
    let rest = path.split('/');
    let at = '';
    let links = 0;
    let leftOurs = false;
    for (let index = 0; index < rest.length; index++) {
      const part = rest[index]!;
      if (part === '' || part === '.') continue;
      if (part === '..') {
        leftOurs ||= this.nodes.has(at);
        at = at.slice(0, Math.max(at.lastIndexOf('/'), 0));
        continue;
      }
      const next = `${at}/${part}`;
      const node = this.nodes.get(next);
      const isLast =
        index === rest.length - 1 || rest.slice(index + 1).every((other) => other === '');
      if (node?.kind === 'link' && (!isLast || follow)) {
        if (++links > LINKS_MAX) return null;
        rest = [...node.target.split('/'), ...rest.slice(index + 1)];
        index = -1;
        continue;
      }
      at = next;
    }
    const node = this.nodes.get(at);
    if (node !== undefined) return { path: at, node };
    return leftOurs ? { path: at === '' ? '/' : at, node: { kind: 'outside' } } : null;
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** Nobody else has a folder of this name: it is as random as a file of mkdtemp(3), and longer. */
function temporaryFolder(announce: (folder: string) => void): string {
  const folder = join(tmpdir(), `iopf-${randomBytes(9).toString('hex')}`);
  announce(folder);
  try {
    mkdirSync(folder, { mode: 0o700 });
    return folder;
  } catch (error) {
    throw cannotFill(error);
  }
}

/** What the host says against the tree, for the user: mostly a disk that is full. */
export function cannotFill(error: unknown): unknown {
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (syscall === undefined) return error;
  return new UserError(
    `cannot make a directory in ${tmpdir()}: ${code}; set TMPDIR to another one`,
  );
}
