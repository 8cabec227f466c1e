/**
 * The files that stand for the nodes of the shadow, in a temporary folder: real ones, so that
 * descriptors, getdents(2) and reads work by themselves. They are made when a program asks for
 * them.
 */

import { mkdirSync, readdirSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { AT_FDCWD } from '../../abi/linux.js';
import { UserError } from '../../input/user-error.js';
import { allocateNative, getrandom, must, syscall } from '../../mm/process/libc.js';
import { architecture } from '../arch/index.js';
import type { ShadowNode } from './shadow-node.js';

const S_IFCHR_RW = 0o020666;
const NO_DEVICE = 0;
const DEV_NULL = 0x103;

export class ShadowFolder {
  readonly root: string;
  /** The same as bytes, one in each character. */
  private readonly rootBytes: string;
  /** Nodes for which a file stands. */
  private readonly made = new Set<string>();
  /** Directories whose entries all stand. */
  private readonly complete = new Set<string>();

  constructor(
    private readonly nodes: ReadonlyMap<string, ShadowNode>,
    /** Names of the nodes in each directory. */
    private readonly entries: ReadonlyMap<string, readonly string[]>,
    /** Takes the names of the host's entries in directories that are listed. */
    private readonly names: Set<string>,
    announce: (folder: string) => void,
  ) {
    this.root = temporaryFolder(announce);
    this.rootBytes = Buffer.from(this.root).toString('latin1');
  }

  /**
   * Where the file lies that stands for a node, as bytes. It is made, or its content renewed; of a
   * directory all that is in it, which its number of links tells of.
   */
  place(path: string, node: ShadowNode): string {
    if (node.kind === 'directory') this.list(path);
    else this.make(path, node);
    return this.rootBytes + path;
  }

  private list(path: string): void {
    if (this.complete.has(path)) return;
    this.makeDirectory(path);
    for (const name of this.entries.get(path) ?? []) {
      const other = join(path, name);
      this.make(other, this.nodes.get(other)!);
    }
    const directory = this.nodes.get(path);
    if (directory?.kind === 'directory' && directory.merged) this.listHost(path);
    this.complete.add(path);
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }

  private make(path: string, node: ShadowNode): void {
    const isLive = node.kind === 'file' && typeof node.content === 'function';
    if (this.made.has(path) && !isLive) return;
    this.makeDirectory(node.kind === 'directory' ? path : dirname(path));
    if (node.kind === 'link') makeLink(node.target, this.root + path);
    else if (node.kind === 'device') makeCharacterDevice(this.root + path);
    else if (node.kind !== 'directory')
      writeFileSync(this.root + path, node.kind === 'file' ? contentOf(node.content) : '');
    this.made.add(path);
  }

  private makeDirectory(path: string): void {
    mkdirSync(this.root + path, { recursive: true });
  }

  /**
   * Something of the same type for each entry of the host. Opening it is intercepted and leads to
   * the host's own.
   */
  private listHost(path: string): void {
    for (const entry of hostEntries(path)) {
      const other = join(path, entry.name);
      if (this.nodes.has(other)) continue;
      this.names.add(entry.name);
      if (entry.isDirectory()) this.makeDirectory(other);
      else if (!entry.isSymbolicLink()) writeFileSync(this.root + other, '');
      else makeLink(readlinkSync(other), this.root + other);
    }
  }
}

/**
 * A device as getdents(2) shows it, which nobody opens: without a number (a whiteout, which needs
 * no right, but cannot be on overlayfs), or as good as /dev/null; where neither may be, a file.
 */
function makeCharacterDevice(path: string): void {
  const { nr } = architecture(process.arch)!;
  const name = allocateNative(Buffer.byteLength(path) + 1);
  name.bytes.set(Buffer.from(path));
  const wasMade = [NO_DEVICE, DEV_NULL].some(
    (device) => syscall(nr.mknodat, AT_FDCWD, name.address, S_IFCHR_RW, device, 0, 0) === 0,
  );
  if (!wasMade) writeFileSync(path, '');
}

/** One that was made before something else failed stays. */
function makeLink(target: string, path: string): void {
  try {
    symlinkSync(target, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

function contentOf(content: Extract<ShadowNode, { kind: 'file' }>['content']): string | Uint8Array {
  if (typeof content === 'function') return content();
  return typeof content === 'string' ? content : '';
}

function hostEntries(path: string): ReturnType<typeof readEntries> {
  try {
    return readEntries(path);
  } catch {
    return []; // The host has no such directory, or does not let iopf read it.
  }
}

const readEntries = (path: string) => readdirSync(path, { withFileTypes: true });

/** Random bytes as text. Node's crypto is large, and nothing else needs it. */
function randomHex(length: number): string {
  const { address, bytes } = allocateNative(length);
  must('getrandom', getrandom(address, length, 0));
  return Buffer.from(bytes).toString('hex');
}

/** Nobody else has a folder of this name: it is as random as a file of mkdtemp(3), and longer. */
function temporaryFolder(announce: (folder: string) => void): string {
  const folder = join(tmpdir(), `iopf-${randomHex(9)}`);
  announce(folder);
  try {
    mkdirSync(folder, { mode: 0o700 });
    return folder;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new UserError(
      `cannot make a directory in ${tmpdir()}: ${code}; set TMPDIR to another one`,
    );
  }
}
