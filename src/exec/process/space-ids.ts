import { SPACES_MAX } from '../../mm/process/space.js';

/** The small numbers of address spaces, which are part of frame numbers. */
export class SpaceIds {
  private readonly free = Array.from({ length: SPACES_MAX }, (_, index) => SPACES_MAX - 1 - index);
  private readonly retired: number[] = [];

  /** A number that no space has; undefined where all are taken. */
  take(): number | undefined {
    return this.free.pop();
  }

  /**
   * The space has ended. `inTables`: its frames may still stand in tables of pinned mappings, so
   * that the number is not used again before `recycle`.
   */
  giveBack(id: number, inTables: boolean): void {
    (inTables ? this.retired : this.free).push(id);
  }

  /** No VFIO file is open: frames of ended spaces stand in no table any more. */
  recycle(): void {
    this.free.push(...this.retired);
    this.retired.length = 0;
  }
}
