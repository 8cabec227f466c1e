/**
 * Names a device of a user that does not return, from the main thread: the engine's is in it. Where
 * it is, V8's inspector says, which stops the thread for a moment.
 */
import { Session } from 'node:inspector';
import { fileURLToPath } from 'node:url';
import { handlerNames, LOADING } from '../../kit/guarded-function.js';
import type { RunModules } from './module-kinds.js';
import { isOf, shownPlace } from './place.js';
import { notedName, WatchWord } from './watch-words.js';

const HUNG_MS = 5000;
const LOOK_MS = 250;
/** How long the inspector may take. */
const ANSWER_MS = 5000;

/**
 * Watches until the returned function is called. `hung` is told once of each handler that does not
 * return.
 */
export function startWatchdog(
  { devices, words }: RunModules,
  hung: (text: string) => void,
): () => void {
  let sequence = 0;
  let sinceMs = 0;
  let begun = 0;
  let isTold = false;
  const look = async (): Promise<void> => {
    const now = Atomics.load(words, WatchWord.SEQUENCE);
    const begunNow = words[WatchWord.DMA_BEGUN]!;
    // It waits in the engine: the program is to bring a page.
    const isWaiting = begunNow !== words[WatchWord.DMA_ENDED]! && begunNow === begun;
    begun = begunNow;
    if (now !== sequence || now === 0 || isWaiting) {
      sequence = now;
      sinceMs = performance.now();
      isTold = false;
      return;
    }
    if (isTold || performance.now() - sinceMs < HUNG_MS) return;
    isTold = true;
    const index = words[WatchWord.DEVICE]!;
    const { address, file, kind } = devices[index]!;
    const handler = words[WatchWord.HANDLER]!;
    const place = await whereEngineIs(file);
    // Much else is loaded with a module, and may be slow.
    if (handler === LOADING && place === null) return;
    const who = `device ${notedName(words, index) || kind}@${address}`;
    const from = place ?? `from ${handlerNames[handler]}`;
    hung(`${who} has not returned for ${HUNG_MS / 1000} s, ${from}`);
  };
  const timer = setInterval(() => void look(), LOOK_MS);
  return () => clearInterval(timer);
}

interface CallFrame {
  readonly location: { readonly scriptId: string; readonly lineNumber: number };
}

/** Where in the author's files the engine's thread is; null: it does not say. */
function whereEngineIs(module: string): Promise<string | null> {
  const session = new Session();
  const files = new Map<string, string>();
  let worker = '';
  let nextId = 1;
  const send = (method: string): void => {
    const message = JSON.stringify({ id: nextId++, method });
    session.post('NodeWorker.sendMessageToWorker', { sessionId: worker, message });
  };
  return new Promise((resolve) => {
    // The thread that was asked to stop does so, however late, and goes on at a word only.
    const late = setTimeout(() => resolve(null), ANSWER_MS);
    const end = (place: string | null): void => {
      clearTimeout(late);
      session.disconnect();
      resolve(place);
    };
    session.on('NodeWorker.receivedMessageFromWorker', ({ params: { message } }) => {
      const { method, params } = JSON.parse(message);
      if (method === 'Debugger.scriptParsed') files.set(params.scriptId, asPath(params.url));
      if (method !== 'Debugger.paused') return;
      const frames: readonly CallFrame[] = params.callFrames;
      const found = frames
        .map(({ location }) => ({ ...location, file: files.get(location.scriptId) ?? '' }))
        .find(({ file }) => isOf(file, module));
      send('Debugger.resume');
      send('Debugger.disable');
      end(found === undefined ? null : shownPlace(found.file, found.lineNumber + 1));
    });
    session.on('NodeWorker.attachedToWorker', ({ params }) => {
      worker = params.sessionId;
      send('Debugger.enable');
      send('Debugger.pause');
    });
    session.connect();
    session.post('NodeWorker.enable', { waitForDebuggerOnStart: false }, (error) => {
      if (error !== null) end(null);
    });
  });
}

function asPath(url: string): string {
  return url.startsWith('file:') ? fileURLToPath(url) : url;
}
