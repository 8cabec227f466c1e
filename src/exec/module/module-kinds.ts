/** The kinds of a run's devices that come from modules, as the engine's thread has them. */
import { format } from 'node:util';
import type { DeviceKind } from '../../device/kind.js';
import { OptionError } from '../../device/options.js';
import { type Fate, LOADING } from '../../kit/guarded-function.js';
import { kindOf } from '../../kit/kind.js';
import type { DeviceSpec } from '../machine/machine-spec.js';
import { say } from '../run/tell.js';
import type { ModuleDevice } from './find.js';
import { loadModel, moduleMistake } from './load.js';
import { type DeviceErrors, HandlerWatch, moduleFate } from './module-fate.js';
import { tellStrays } from './own-thread.js';
import { noteName } from './watch-words.js';

/** What a run has of users' modules. */
export interface RunModules {
  readonly devices: readonly ModuleDevice[];
  /** `WatchWord`s. */
  readonly words: Int32Array;
}

/** Loads them all. Throws UserError. */
export async function moduleKinds(
  { devices, words }: RunModules,
  errors: DeviceErrors,
): Promise<(device: DeviceSpec) => DeviceKind | null> {
  showConsole();
  tellStrays(devices.map(({ file }) => file));
  const watch = new HandlerWatch(words);
  const kinds = new Map<string, DeviceKind>();
  for (const [index, device] of devices.entries()) {
    const { file } = device;
    const fate = moduleFate(watch, index, file, errors);
    fate.entered(LOADING);
    const kind = kindOf(await loadModel(device), fate);
    fate.left();
    kinds.set(device.address, { ...kind, create: telling(kind, fate, file) });
    noteName(words, index, kind.name);
  }
  return ({ address }) => kinds.get(address) ?? null;
}

/** Throws what the author's code throws as a UserError. */
function telling(kind: DeviceKind, fate: Fate, file: string): DeviceKind['create'] {
  return (options, context) => {
    try {
      fate.entered(LOADING);
      const made = kind.create(options, context);
      fate.left();
      return made;
    } catch (error) {
      if (error instanceof OptionError) throw error;
      throw moduleMistake(error, file);
    }
  };
}

/** Node would show it once this thread no longer blocks, which is at the end. */
function showConsole(): void {
  for (const method of ['debug', 'error', 'info', 'log', 'warn'] as const)
    console[method] = (...words: unknown[]) => say(`${format(...words)}\n`);
}
