import { EVENT_REQUESTS } from './limits.js';

/** Asynchronous event types, as in bits 0–2 of the completion's result (NVM Express 1.4, 5.2.1). */
export const EventType = { ERROR: 0, HEALTH: 1 } as const;
/** Event information. */
export const EventInformation = {
  INVALID_DOORBELL_REGISTER: 0,
  INVALID_DOORBELL_VALUE: 1,
  TEMPERATURE_THRESHOLD: 1,
} as const;

/**
 * Asynchronous events: requests that wait for something to happen, and happenings that wait for a
 * request. After an event of a type, that type is masked until its log page is read.
 */
export class Events {
  /** Command identifiers of outstanding requests, oldest first. */
  private readonly requests: number[] = [];
  /** Results of events that nobody has asked for yet, oldest first. */
  private readonly events: number[] = [];
  private masked = 0;

  reset(): void {
    this.requests.length = 0;
    this.events.length = 0;
    this.masked = 0;
  }

  /** Keeps a request; false: there are too many. */
  request(identifier: number): boolean {
    if (this.requests.length === EVENT_REQUESTS) return false;
    this.requests.push(identifier);
    return true;
  }

  /** Takes an outstanding request back; false: there is none of this identifier. */
  abort(identifier: number): boolean {
    const index = this.requests.indexOf(identifier);
    if (index < 0) return false;
    this.requests.splice(index, 1);
    return true;
  }

  /** Something happened. It is dropped where its type is masked or too much waits already. */
  report(type: number, information: number, logPage: number): void {
    if ((this.masked & (1 << type)) !== 0 || this.events.length === EVENT_REQUESTS) return;
    this.masked |= 1 << type;
    this.events.push(type | (information << 8) | (logPage << 16));
  }

  /** The log page of a type was read. */
  unmask(type: number): void {
    this.masked &= ~(1 << type);
  }

  /** An event can be told. Hot. */
  get ready(): boolean {
    return this.events.length > 0 && this.requests.length > 0;
  }

  /** Takes the oldest request, which the oldest event answers: call while `ready`. */
  takeRequest(): number {
    return this.requests.shift()!;
  }

  takeEvent(): number {
    return this.events.shift()!;
  }
}
