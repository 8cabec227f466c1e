/** What a name of the shadow is, and what stat(2) says of it. */
import type { DeviceNode } from './device-node.js';

/** What a file of sysfs holds: text, or what it holds whenever it is opened. */
export type Content = string | (() => string | Uint8Array);

/** A file of sysfs. */
export interface ShadowFile {
  readonly kind: 'file';
  /** Permission bits. Write bits are only shown: nothing can be written. */
  readonly mode: number;
  /** Bytes as stat(2) shows them, which for text is a page (kernel: sysfs_add_file_mode_ns). */
  readonly size: number;
  /** An errno: what it holds cannot be had, and opening it fails so. */
  readonly content: Content | number;
}

/** A name that the shadow answers. */
export type ShadowNode =
  | {
      readonly kind: 'directory';
      /** The host's entries are listed beside the shadow's. */
      readonly merged: boolean;
    }
  | ShadowFile
  | { readonly kind: 'link'; readonly target: string }
  | { readonly kind: 'device'; readonly device: DeviceNode }
  /** vfio-pci's `unbind`, which takes a device from VFIO when its address is written there. */
  | { readonly kind: 'unbind' }
  /**
   * A file of the host that is reached from a directory of the shadow, which the kernel cannot do.
   */
  | { readonly kind: 'outside' };

/** A path that was followed to its end. */
export interface Found {
  readonly path: string;
  readonly node: ShadowNode;
}

/** Bytes of an attribute of sysfs as stat(2) shows them. */
export const ATTRIBUTE_BYTES = 4096;

const S_IFCHR = 0o020000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;
const WRITE_ONLY = 0o200;

/** What the shadow shows otherwise than the file that stands for the node. */
export interface Appearance {
  /** Type and permissions; null: as they are. */
  readonly mode: number | null;
  readonly size: number;
  /** It belongs to root, as all of sysfs does. */
  readonly ofRoot: boolean;
  /** Where it is a device. */
  readonly device: DeviceNode | null;
}

/** What stat(2) says of a node; null: what it says of the file that stands for it. */
export function appearance({ path, node }: Found): Appearance | null {
  const ofRoot = path.startsWith('/sys/');
  switch (node.kind) {
    case 'file':
      return { mode: S_IFREG | node.mode, size: node.size, ofRoot, device: null };
    case 'unbind':
      return { mode: S_IFREG | WRITE_ONLY, size: ATTRIBUTE_BYTES, ofRoot, device: null };
    case 'link':
      return { mode: S_IFLNK | 0o777, size: 0, ofRoot, device: null };
    case 'directory':
      return { mode: null, size: 0, ofRoot, device: null };
    case 'device':
      return { mode: S_IFCHR | node.device.mode, size: 0, ofRoot, device: node.device };
    case 'outside':
      return null;
  }
}

/** Permission bits of a node; null: as the file that stands for it has them. */
export function permissions(node: ShadowNode): number | null {
  if (node.kind === 'file') return node.mode;
  return node.kind === 'unbind' ? WRITE_ONLY : null;
}
