/**
 * Machines onto hosts that are all alike: first fit, best fit, and how few hosts there must be.
 *
 * Terms: a *demand* is what a machine of one type takes, in each *dimension*: cores, and pages of
 * memory for each part of the day. Machines come one after another, and stay.
 */
import { UserError } from '../input/user-error.js';

/** By dimension; every demand and the capacity have the same ones. */
export type Amounts = readonly number[];

export interface Packing {
  readonly hosts: number;
  /** How many machines of each type each host has, host after host. */
  readonly counts: Int32Array;
}

/** The fewest hosts that any packing has: what is wanted of the scarcest dimension. */
export function lowerBound(
  demands: readonly Amounts[],
  counts: Amounts,
  capacity: Amounts,
): number {
  let most = 0;
  for (const [dimension, size] of capacity.entries()) {
    let wanted = 0;
    for (const [type, demand] of demands.entries()) wanted += demand[dimension]! * counts[type]!;
    most = Math.max(most, wanted === 0 ? 0 : Math.ceil(wanted / size));
  }
  return most;
}

/**
 * `order` has the type of each machine, in the order in which they come. Throws UserError where one
 * is larger than a host.
 */
export function firstFit(
  demands: readonly Amounts[],
  order: Uint8Array,
  capacity: Amounts,
): Packing {
  const hosts = new Hosts(demands, capacity, order.length);
  // A host without room for a type never gets any: each type looks from where it last found one.
  const from = new Int32Array(demands.length);
  for (const type of order) {
    let host = from[type]!;
    while (host < hosts.count && !hosts.fits(host, type)) host++;
    from[type] = host;
    hosts.place(host, type);
  }
  return hosts.packing;
}

/** The same, on the host with the least memory left, the first of these. */
export function bestFit(
  demands: readonly Amounts[],
  order: Uint8Array,
  capacity: Amounts,
): Packing {
  const hosts = new Hosts(demands, capacity, order.length);
  const queues = demands.map(() => new HostQueue());
  for (const type of order) {
    const queue = queues[type]!;
    const isCurrent = (host: number, left: number): boolean =>
      hosts.left(host) === left && hosts.fits(host, type);
    while (queue.length > 0 && !isCurrent(queue.firstHost, queue.firstLeft)) queue.removeFirst();
    const host = queue.length > 0 ? queue.firstHost : hosts.count;
    hosts.place(host, type);
    const left = hosts.left(host);
    for (const [other, each] of queues.entries())
      if (hosts.fits(host, other)) each.add(left, host, (at, was) => hosts.left(at) === was);
  }
  return hosts.packing;
}

class Hosts {
  count = 0;
  private readonly free: Float64Array[];
  private taken: Int32Array;

  constructor(
    private readonly demands: readonly Amounts[],
    private readonly capacity: Amounts,
    private readonly most: number,
  ) {
    for (const demand of demands)
      if (demand.some((amount, dimension) => amount > capacity[dimension]!))
        throw new UserError('a machine is larger than a host');
    this.free = capacity.map(() => new Float64Array(most));
    this.taken = new Int32Array(1024 * demands.length);
  }

  get packing(): Packing {
    return { hosts: this.count, counts: this.taken.slice(0, this.count * this.demands.length) };
  }

  fits(host: number, type: number): boolean {
    const demand = this.demands[type]!;
    for (let dimension = 0; dimension < demand.length; dimension++)
      if (this.free[dimension]![host]! < demand[dimension]!) return false;
    return true;
  }

  /** What is left of a host's scarcest memory: the dimensions behind cores. */
  left(host: number): number {
    let least = Number.POSITIVE_INFINITY;
    for (let dimension = 1; dimension < this.free.length; dimension++)
      least = Math.min(least, this.free[dimension]![host]!);
    return least;
  }

  place(host: number, type: number): void {
    if (host === this.count) this.add();
    const demand = this.demands[type]!;
    for (let dimension = 0; dimension < demand.length; dimension++)
      this.free[dimension]![host]! -= demand[dimension]!;
    this.taken[host * this.demands.length + type]!++;
  }

  private add(): void {
    for (const [dimension, size] of this.capacity.entries())
      this.free[dimension]![this.count] = size;
    this.count++;
    const needed = this.count * this.demands.length;
    if (needed <= this.taken.length) return;
    const grown = new Int32Array(Math.min(2 * needed, this.most * this.demands.length));
    grown.set(this.taken);
    this.taken = grown;
  }
}

/** Hosts by what they have left, the least first, then by their number: a binary heap. */
class HostQueue {
  length = 0;
  private lefts = new Float64Array(64);
  private hosts = new Int32Array(64);

  get firstHost(): number {
    return this.hosts[0]!;
  }

  get firstLeft(): number {
    return this.lefts[0]!;
  }

  /** `isCurrent`: entries of which that does not hold may go. */
  add(left: number, host: number, isCurrent: (host: number, left: number) => boolean): void {
    if (this.length === this.hosts.length) {
      this.dropStale(isCurrent);
      if (2 * this.length > this.hosts.length) this.grow();
    }
    this.push(left, host);
  }

  private dropStale(isCurrent: (host: number, left: number) => boolean): void {
    const all = this.length;
    this.length = 0;
    for (let at = 0; at < all; at++) {
      const [left, host] = [this.lefts[at]!, this.hosts[at]!];
      if (isCurrent(host, left)) this.push(left, host);
    }
  }

  private grow(): void {
    const [lefts, hosts] = [
      new Float64Array(2 * this.hosts.length),
      new Int32Array(2 * this.hosts.length),
    ];
    lefts.set(this.lefts);
    hosts.set(this.hosts);
    this.lefts = lefts;
    this.hosts = hosts;
  }

  private push(left: number, host: number): void {
    let at = this.length++;
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      if (!this.isBefore(left, host, parent)) break;
      this.move(parent, at);
      at = parent;
    }
    this.lefts[at] = left;
    this.hosts[at] = host;
  }

  removeFirst(): void {
    const last = --this.length;
    const [left, host] = [this.lefts[last]!, this.hosts[last]!];
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= last) break;
      if (child + 1 < last && this.isBefore(this.lefts[child + 1]!, this.hosts[child + 1]!, child))
        child++;
      if (this.isBefore(left, host, child)) break;
      this.move(child, at);
      at = child;
    }
    this.lefts[at] = left;
    this.hosts[at] = host;
  }

  private isBefore(left: number, host: number, at: number): boolean {
    return left < this.lefts[at]! || (left === this.lefts[at] && host < this.hosts[at]!);
  }

  private move(from: number, to: number): void {
    this.lefts[to] = this.lefts[from]!;
    this.hosts[to] = this.hosts[from]!;
  }
}
