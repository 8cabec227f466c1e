/**
 * The main thread's side of a live view of a run: puts what the engine tells into words, and asks
 * it.
 */
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import type { LiveAnswer, LiveMessage, LiveQuery, LiveSource } from '../../live/live.js';
import { HeatMap } from '../../trace/heat.js';
import type { Architecture } from '../arch/index.js';
import { tellSample } from './direct-wire.js';
import type { EngineLive, LiveQuestion } from './sampler.js';
import { mapColumn } from './tables.js';

export class LiveLink implements LiveSource {
  /** The engine's end. */
  readonly engine: MessagePort;
  /** Resolves once the engine has told its last. */
  readonly over: Promise<void>;
  private readonly port: MessagePort;
  private readonly waiting = new Map<number, (answer: LiveAnswer | null) => void>();
  private nextQuestion = 0;
  private closed = false;
  /** What is left of the run. */
  private left: { readonly heat: HeatMap; readonly seconds: number } | null = null;
  private seconds = 0;

  constructor(
    private readonly architecture: Architecture,
    private readonly tell: (message: LiveMessage) => void,
  ) {
    const { port1, port2 } = new MessageChannel();
    this.port = port1;
    this.engine = port2;
    this.over = new Promise((resolve) => {
      port1.on('close', resolve);
    });
    port1.on('message', (message: EngineLive) => this.receive(message));
    port1.on('close', () => {
      this.closed = true;
      for (const answer of this.waiting.values()) answer(null);
      this.waiting.clear();
    });
  }

  /**
   * The run is over, or has not begun: without this an engine that did not take its end keeps the
   * process alive.
   */
  close(): void {
    this.port.close();
  }

  /** Null: the engine is gone, and has left nothing. */
  ask(query: LiveQuery): Promise<LiveAnswer | null> {
    if (this.left !== null) return Promise.resolve(this.answerFromWhatIsLeft(query, this.left));
    if (this.closed) return Promise.resolve(null);
    const id = this.nextQuestion++;
    this.port.postMessage({ id, query } satisfies LiveQuestion);
    return new Promise((resolve) => {
      this.waiting.set(id, resolve);
    });
  }

  private receive(message: EngineLive): void {
    switch (message.kind) {
      case 'sample':
        this.seconds = message.sample.seconds;
        tellSample(message, this.architecture, this.tell);
        break;
      case 'answer':
        this.waiting.get(message.id)?.(message.answer);
        this.waiting.delete(message.id);
        break;
      case 'over':
        if (message.heat !== null)
          this.left = { heat: HeatMap.from(message.heat), seconds: this.seconds };
        this.port.close();
        break;
    }
  }

  private answerFromWhatIsLeft(
    query: LiveQuery,
    { heat, seconds }: NonNullable<LiveLink['left']>,
  ): LiveAnswer {
    if (query.about === 'table') return { mapping: null, entries: [], absent: query.pages };
    return { seconds, columns: query.segments.map((segment) => mapColumn(segment, null, heat)) };
  }
}
