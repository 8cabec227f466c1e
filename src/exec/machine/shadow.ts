/**
 * The shadow of /dev/vfio, /dev/iommu and /sys: the paths by which a program finds the devices of
 * the run.
 *
 * Terms: a *node* is a name that the shadow answers; a *merged* directory lists the host's entries
 * beside its own; what lies *above* is the host's, and leads to a node. Nodes are a table; the
 * files that stand for them are made when they are asked for (ShadowFolder).
 */
import { existsSync, realpathSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { Bug } from '../../abi/bug.js';
import { Errno, VfioError } from '../../abi/errno.js';
import type { DeviceNode } from './device-node.js';
import { ShadowFolder } from './shadow-folder.js';
import { ATTRIBUTE_BYTES, type Content, type Found, type ShadowNode } from './shadow-node.js';

const LINKS_MAX = 40;
const DOT = 0x2e;
const SLASH = 0x2f;
/**
 * A name is the shadow's only if it begins so, once `.`, `..` and double slashes are gone from it.
 */
const BEGINNINGS = ['/sys/', '/dev/vfio', '/dev/iommu'];

export class ShadowTree {
  private readonly nodes = new Map<string, ShadowNode>();
  /** Names of the nodes in each directory. */
  private readonly entries = new Map<string, string[]>();
  private readonly folder: ShadowFolder;
  /** Directories of the host that lead to nodes. */
  private readonly above = new Set<string>();
  /**
   * Names of nodes, and of the host's entries in directories that were listed: what relative paths
   * that must be followed begin with or end in.
   */
  private readonly names = new Set<string>();

  /** `announce` is told the folder before it is made. Throws UserError. */
  constructor(announce: (folder: string) => void = () => {}) {
    this.folder = new ShadowFolder(this.nodes, this.entries, this.names, announce);
  }

  /** Where files that stand for nodes lie on the host. */
  get root(): string {
    return this.folder.root;
  }

  /** A directory in which only nodes are seen. */
  directory(path: string): void {
    this.add(path, { kind: 'directory', merged: false });
  }

  /** A directory that lists the host's entries, if the host has it, beside its nodes. */
  merged(path: string): void {
    if (this.nodes.get(path)?.kind !== 'directory')
      this.add(path, { kind: 'directory', merged: true });
  }

  /** An attribute of sysfs. */
  file(path: string, content: Content, mode = 0o444): void {
    this.add(path, { kind: 'file', mode, size: ATTRIBUTE_BYTES, content });
  }

  /** A binary file of sysfs; `content` as ShadowFile has it. */
  binary(path: string, size: number, content: Content | number, mode: number): void {
    this.add(path, { kind: 'file', mode, size, content });
  }

  /** A relative link, which ends in the target's name even where that is above (kernfs). */
  link(path: string, targetPath: string): void {
    const target = join(relative(dirname(path), dirname(targetPath)), basename(targetPath));
    this.add(path, { kind: 'link', target });
  }

  device(path: string, device: DeviceNode): void {
    this.add(path, { kind: 'device', device });
  }

  unbind(path: string): void {
    this.add(path, { kind: 'unbind' });
  }

  private add(path: string, node: ShadowNode): void {
    if (!BEGINNINGS.some((beginning) => path.startsWith(beginning)))
      throw new Bug('a path that the first look does not let pass', { path });
    const [directory, name] = [dirname(path), basename(path)];
    if (!this.nodes.has(path)) {
      const others = this.entries.get(directory);
      if (others === undefined) this.entries.set(directory, [name]);
      else others.push(name);
    }
    this.nodes.set(path, node);
    this.names.add(name);
    this.leadTo(directory);
  }

  /** Makes directories above a node, but for those that the host has. */
  private leadTo(path: string): void {
    if (path === '/' || this.nodes.has(path) || this.above.has(path)) return;
    if (existsSync(path)) {
      this.above.add(path);
      this.leadTo(dirname(path));
    } else this.merged(path);
  }

  /** Whether an absolute path can name a node. Hot: every program opens hundreds of others. */
  mayName(path: string): boolean {
    for (let index = 0; index < BEGINNINGS.length; index++)
      if (path.startsWith(BEGINNINGS[index]!)) return true;
    if (!path.includes('/.') && !path.includes('//')) return false;
    return path.includes('/sys') || path.includes('/vfio') || path.includes('/iommu');
  }

  /**
   * Whether a relative path can name a node, or lead out of a directory of the shadow. Hot: only
   * then is it asked which directory it begins at.
   */
  mayNameFrom(path: string): boolean {
    let start = 0;
    let end = path.length;
    while (path.charCodeAt(start) === DOT && path.charCodeAt(start + 1) === SLASH) start += 2;
    while (path.charCodeAt(end - 1) === SLASH) end--;
    if (start >= end) return true;
    const slash = path.lastIndexOf('/', end - 1);
    if (slash < start) {
      const name = path.slice(start, end);
      return name === '.' || name === '..' || this.names.has(name);
    }
    if (path.includes('..') || this.names.has(path.slice(slash + 1, end))) return true;
    return this.names.has(path.slice(start, path.indexOf('/', start)));
  }

  /**
   * Where a path that was resolved lies on the host, as bytes; one that is outside lies where it
   * says. What stands for a node is made if need be.
   */
  host(path: string): string {
    const node = this.nodes.get(path);
    return node === undefined ? path : this.folder.place(path, node);
  }

  /** The path in the program's eyes of a host path inside the folder; else null. */
  program(path: string): string | null {
    if (path === this.root) return '/';
    return path.startsWith(`${this.root}/`) ? path.slice(this.root.length) : null;
  }

  /**
   * Follows an absolute path; null where it names no node. `follow`: also a link in last place.
   * `fromOurs`: the kernel would follow it from a directory that stands for a node. Throws ENOTDIR
   * for a path that leads on from a node which is no directory.
   */
  resolve(path: string, follow: boolean, fromOurs = false): Found | null {
    let rest = path.split('/').filter((part) => part !== '' && part !== '.');
    let at = '';
    let links = 0;
    let leftOurs = fromOurs;
    const followsLast = follow || /\/\.?$/.test(path);
    for (let index = 0; index < rest.length; index++) {
      const part = rest[index]!;
      if (part === '..') {
        leftOurs ||= this.nodes.has(at) && !existsSync(at);
        at = this.nodes.has(at) || this.above.has(at) ? at : realPath(at);
        at = at.slice(0, Math.max(at.lastIndexOf('/'), 0));
        continue;
      }
      const next = `${at}/${part}`;
      const node = this.nodes.get(next);
      if (node?.kind === 'link' && (followsLast || index < rest.length - 1)) {
        if (++links > LINKS_MAX) return null;
        const target = node.target.split('/');
        rest = [...at.split('/').filter(Boolean), ...target, ...rest.slice(index + 1)];
        at = '';
        index = -1;
        continue;
      }
      if (node !== undefined && node.kind !== 'directory' && index < rest.length - 1)
        throw new VfioError(Errno.ENOTDIR);
      at = next;
    }
    const node = this.nodes.get(at);
    if (node !== undefined) return { path: at, node };
    return leftOurs ? { path: at === '' ? '/' : at, node: { kind: 'outside' } } : null;
  }

  remove(): void {
    this.folder.remove();
  }
}

/** What is above a directory of the host, whose path may lead through links. */
function realPath(path: string): string {
  try {
    return path === '' ? '' : realpathSync(path);
  } catch {
    return path;
  }
}
