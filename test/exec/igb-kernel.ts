/** A guest's kernel with the driver of Intel's cards, and what it takes to use that. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { available, have } from '../skip.js';

/** In the order in which they can be loaded. */
const modules = [
  'drivers/dca/dca.ko',
  'drivers/i2c/algos/i2c-algo-bit.ko',
  'drivers/net/ethernet/intel/igb/igb.ko',
  'net/llc/llc.ko',
  'net/802/stp.ko',
  'net/802/garp.ko',
  'net/802/mrp.ko',
  'net/8021q/8021q.ko',
];

/** A line for the guest's shell. */
export const loadIgb = `for name in ${modules
  .map((name) => basename(name))
  .join(' ')}; do insmod /modules/$name || break; done`;

export interface IgbKernel {
  readonly kernel: string;
  readonly files: Record<string, Uint8Array>;
}

/** A kernel with igb as a module, such as Debian's linux-image-amd64, and ethtool. */
export function igbKernel(what: string): IgbKernel | null {
  const installed = existsSync('/boot')
    ? readdirSync('/boot').filter((name) => /^vmlinuz-.*\d-amd64$/.test(name))
    : [];
  const kernel = process.env['IOPF_IGB_KERNEL'] ?? (installed[0] && `/boot/${installed[0]}`);
  available(!!kernel, what, 'no /boot/vmlinuz-*-amd64; IOPF_IGB_KERNEL is not set');
  if (!kernel) return null;
  const version = basename(kernel).replace('vmlinuz-', '');
  const drivers = join(dirname(kernel), '../lib/modules', version, 'kernel');
  const missing = modules.find((name) => !existsSync(join(drivers, name)));
  if (!available(missing === undefined, what, `no module ${missing} in ${drivers}`)) return null;
  const tools = ['qemu-system-x86_64', 'busybox', 'cpio', 'ethtool', 'ldd'];
  if (!tools.every((command) => have(command, what))) return null;
  const files = Object.fromEntries(
    modules.map((name) => [`modules/${basename(name)}`, readFileSync(join(drivers, name))]),
  );
  const ethtool = execFileSync('sh', ['-c', 'command -v ethtool'], { encoding: 'utf8' }).trim();
  files['bin/ethtool'] = readFileSync(ethtool);
  const libraries = execFileSync('ldd', [ethtool], { encoding: 'utf8' }).match(/\/\S+/g) ?? [];
  for (const path of libraries) files[path.slice(1)] = readFileSync(path);
  return { kernel, files };
}
