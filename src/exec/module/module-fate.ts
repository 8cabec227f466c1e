/** What becomes of devices of users in a run: they are watched, and die alone or with the run. */
import type { Fate } from '../../kit/guarded-function.js';
import type { DmaCount } from '../../kit/port.js';
import type { PciFunction } from '../../vfio/pci-function.js';
import { tell } from '../run/tell.js';
import { placeOf, reasonOf } from './place.js';
import { WatchWord } from './watch-words.js';

/** What `--device-errors` says. */
export type DeviceErrors = 'continue' | 'stop';

/** A device of a user has ended the run. */
export class DeviceStopped extends Error {}

/** Handlers within handlers: a device that waits for a page while a call reaches another. */
const DEPTH_MOST = 64;

/** The engine's side of the words. */
export class HandlerWatch implements DmaCount {
  private readonly devices = new Int32Array(DEPTH_MOST);
  private readonly handlers = new Int32Array(DEPTH_MOST);
  private depth = 0;
  private sequence = 0;

  constructor(private readonly words: Int32Array) {}

  get begun(): number {
    return this.words[WatchWord.DMA_BEGUN]!;
  }

  set begun(count: number) {
    this.words[WatchWord.DMA_BEGUN] = count;
  }

  get ended(): number {
    return this.words[WatchWord.DMA_ENDED]!;
  }

  set ended(count: number) {
    this.words[WatchWord.DMA_ENDED] = count;
  }

  enter(device: number, handler: number): void {
    if (this.depth < DEPTH_MOST) {
      this.devices[this.depth] = device;
      this.handlers[this.depth] = handler;
    }
    this.depth++;
    this.show();
  }

  leave(): void {
    this.depth--;
    this.show();
  }

  private show(): void {
    const { depth, words } = this;
    if (depth === 0 || depth > DEPTH_MOST) {
      words[WatchWord.SEQUENCE] = 0;
      return;
    }
    words[WatchWord.DEVICE] = this.devices[depth - 1]!;
    words[WatchWord.HANDLER] = this.handlers[depth - 1]!;
    this.sequence = (this.sequence % 0x7fffffff) + 1;
    Atomics.store(words, WatchWord.SEQUENCE, this.sequence);
  }
}

/** Of the device with this index among those of users; `file`: its module. */
export function moduleFate(
  watch: HandlerWatch,
  index: number,
  file: string,
  errors: DeviceErrors,
): Fate {
  return {
    dma: watch,
    entered: (handler) => watch.enter(index, handler),
    left: () => watch.leave(),
    died: (pciFunction, error) => {
      const text = deathText(pciFunction, error, file);
      if (errors === 'stop') throw new DeviceStopped(`${text}; ended (--device-errors stop)`);
      tell(`${text}; it is dead from here on, and reads as ones`);
    },
  };
}

function deathText({ address, kind }: PciFunction, error: unknown, file: string): string {
  const place = placeOf(error, file);
  return `device ${kind}@${address} failed: ${place === null ? '' : `${place}: `}${reasonOf(error)}`;
}
