import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import type { LiveQuestion, LiveWire } from './sampler.js';

/** To whoever has the other end of a message channel, in another thread. */
export function portWire(port: MessagePort): LiveWire {
  return {
    post: (message) => port.postMessage(message),
    question: () =>
      (receiveMessageOnPort(port) as { message: LiveQuestion } | undefined)?.message ?? null,
    close: () => port.close(),
  };
}
