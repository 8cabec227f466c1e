/** What the engine's thread writes for the watchdog: 32-bit words that both threads see. */
export const WatchWord = {
  /** Another number for each handler that begins; 0: none is under way. */
  SEQUENCE: 0,
  /** Which device of the module's devices, and which of `handlerNames`. */
  DEVICE: 1,
  HANDLER: 2,
  /** Transfers of devices, in which the engine may wait for a program. */
  DMA_BEGUN: 3,
  DMA_ENDED: 4,
  /** From here on: what each device is called, in `NAME_WORDS`, a character in each. */
  NAMES: 5,
} as const;

const NAME_WORDS = 32;

export function makeWatchWords(devices: number): Int32Array {
  return new Int32Array(new SharedArrayBuffer(4 * (WatchWord.NAMES + devices * NAME_WORDS)));
}

export function noteName(words: Int32Array, device: number, name: string): void {
  const codes = [...name.slice(0, NAME_WORDS)].map((letter) => letter.charCodeAt(0));
  words.set(codes, WatchWord.NAMES + device * NAME_WORDS);
}

/** Empty: the engine has not told yet. */
export function notedName(words: Int32Array, device: number): string {
  const at = WatchWord.NAMES + device * NAME_WORDS;
  return String.fromCharCode(...words.subarray(at, at + NAME_WORDS).filter((code) => code !== 0));
}
