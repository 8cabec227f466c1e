import type { OwnFaults } from './own-points.js';
import type { DmaGate, Translator } from './translator.js';

/** What a device is made with where it shall have faults on purpose; else none of it is there. */
export interface DeviceFaults {
  /** In place of the IOMMU's own. */
  readonly translator: Translator | null;
  readonly gate: DmaGate | null;
  readonly commands: CommandFaults | null;
  readonly link: LinkFaults | null;
  /** At points that the device declares itself. */
  readonly own: OwnFaults | null;
}

/** A link that goes down on purpose. */
export interface LinkFaults {
  readonly isDown: boolean;
  /** A frame is about to be sent; the link may go down before it. */
  sending(): void;
  /** `changed` is told each time that it has gone down or come up. */
  watch(changed: () => void): void;
}

/** Answers of `CommandFaults.command` beside a status. */
export const CommandFault = {
  /** The command is carried out. */
  NONE: 0,
  /** It never completes. */
  NEVER: -1,
  /** The device is broken: nothing completes until it is reset. */
  FATAL: -2,
  /** It is carried out, and its completion comes `lateMs` later, behind what is under way. */
  LATE: -3,
  /** It is carried out, and its completion comes twice. */
  TWICE: -4,
} as const;

export interface CommandFaults {
  /** A command was fetched: the status that it completes with, or a `CommandFault`. */
  command(queue: number, opcode: number): number;
  /** Milliseconds, where the last answer was LATE. */
  readonly lateMs: number;
  /** The time by which completions are late. */
  nowMs(): number;
}
