/** What a run writes while it goes on: the trace and the recording. */

export interface RunOutput {
  /** Called now and then: what a run that is killed leaves behind is no older. */
  tick(): void;
  /** Writes what is left. Returns what is missing, in a sentence, or null. */
  close(): string | null;
  /** Nothing ran: the file is as it was. */
  discard(): void;
}

export class RunOutputs {
  private readonly outputs: RunOutput[] = [];

  add<Output extends RunOutput>(output: Output): Output {
    this.outputs.push(output);
    return output;
  }

  tick(): void {
    for (const output of this.outputs) output.tick();
  }

  /** Returns what is missing of them, a sentence each. */
  close(): string[] {
    return this.outputs.map((output) => output.close()).filter((missing) => missing !== null);
  }

  discard(): void {
    for (const output of this.outputs) output.discard();
  }
}
