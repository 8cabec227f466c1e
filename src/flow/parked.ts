import type { Flow, Wait } from './flow.js';

/** A flow that nobody runs: it goes on, as far as it can, whenever somebody resumes it. */
export class Parked<T> {
  /** What the flow ended in; null while it waits. */
  result: T | null = null;
  private wait: Wait | null = null;

  constructor(private readonly flow: Flow<T>) {
    this.resume();
  }

  get done(): boolean {
    return this.result !== null;
  }

  resume(): void {
    while (this.result === null && (this.wait === null || this.wait.ready())) {
      const step = this.flow.next();
      if (step.done) this.result = step.value;
      else this.wait = step.value;
    }
  }
}
