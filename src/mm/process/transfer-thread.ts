/** A thread that carries out transfers of `remote-transfer.ts`, and may wait in them. */
import { workerData } from 'node:worker_threads';
import { getLong } from '../../abi/long.js';
import { allocateNative, processVmReadv, processVmWritev, write } from './libc.js';
import { TransferState, TransferWord } from './remote-transfer.js';

interface TransferThreadData {
  readonly words: Int32Array;
  /** An eventfd, signalled when a transfer is done. */
  readonly doneFd: number;
}

function run({ words, doneFd }: TransferThreadData): never {
  const one = allocateNative(8);
  one.bytes[0] = 1;
  const unsignedWords = new Uint32Array(words.buffer);
  for (;;) {
    const state = Atomics.load(words, TransferWord.STATE);
    if (state !== TransferState.BEGUN) {
      Atomics.wait(words, TransferWord.STATE, state);
      continue;
    }
    Atomics.store(words, TransferWord.STATE, TransferState.MOVING);
    Atomics.notify(words, TransferWord.STATE);
    const move = words[TransferWord.WRITE] === 1 ? processVmWritev : processVmReadv;
    words[TransferWord.RESULT] = move(
      words[TransferWord.PID]!,
      getLong(unsignedWords, TransferWord.LOCAL),
      words[TransferWord.LOCALS]!,
      getLong(unsignedWords, TransferWord.REMOTE),
      words[TransferWord.REMOTES]!,
      0,
    );
    Atomics.store(words, TransferWord.STATE, TransferState.DONE);
    Atomics.notify(words, TransferWord.STATE);
    write(doneFd, one.address, 8);
  }
}

run(workerData as TransferThreadData);
