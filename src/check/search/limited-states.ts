/**
 * States where orders are cut after some steps. What comes of a state depends on how far from the
 * beginning it is there only where orders from it on are cut: those are kept by depth.
 */

/** Orders from a state on, of which some are cut. */
export interface CutTail {
  readonly orders: number;
  readonly cut: number;
  readonly height: number;
}

export class LimitedStates {
  /** Steps of the longest order from a state on; infinite: not known. */
  private readonly heights = new Map<number, number>();
  /** By depth, and by state. */
  private readonly tails: Map<number, CutTail>[] = [];

  clear(): void {
    this.heights.clear();
    this.tails.length = 0;
  }

  /** True where it was not there before. */
  meet(key: number): boolean {
    if (this.heights.has(key)) return false;
    this.heights.set(key, Number.POSITIVE_INFINITY);
    return true;
  }

  heightOf(key: number): number {
    return this.heights.get(key) ?? Number.POSITIVE_INFINITY;
  }

  setHeight(key: number, height: number): void {
    this.heights.set(key, height);
  }

  cutFrom(key: number, depth: number): CutTail | null {
    return this.tails[depth]?.get(key) ?? null;
  }

  setCut(key: number, depth: number, tail: CutTail): void {
    this.tails[depth] ??= new Map();
    this.tails[depth].set(key, tail);
  }
}
