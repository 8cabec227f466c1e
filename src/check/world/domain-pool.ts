import type { Domain, DomainOptions } from '../../iommu/domain.js';
import type { IommuProperties } from '../../iommu/geometry.js';
import { Checkpoint } from './checkpoint.js';
import type { Parts } from './parts.js';

interface Pool {
  readonly options: DomainOptions;
  readonly domains: PooledDomain[];
  used: number;
  /** Those that are in use at the beginning of every order. */
  kept: number;
}

interface PooledDomain {
  readonly domain: Domain;
  /** As it was when it was new. */
  readonly made: Checkpoint;
}

/**
 * Domains that are used again by the next order, because making one costs more than a whole order
 * does. Their own methods are never called for that: what a variant forgets, it forgets.
 */
export class DomainPool {
  private readonly pools = new Map<IommuProperties, Pool>();

  constructor(private readonly DomainClass: Parts['Domain']) {}

  /** Domains behind an IOMMU of this geometry are made with these options. */
  add(geometry: IommuProperties, options: DomainOptions): void {
    if (!this.pools.has(geometry))
      this.pools.set(geometry, { options, domains: [], used: 0, kept: 0 });
  }

  /** A domain that is as a new one. */
  take(geometry: IommuProperties): Domain {
    const { options, domains, used } = this.pools.get(geometry)!;
    this.pools.get(geometry)!.used++;
    if (used === domains.length) {
      const domain = new this.DomainClass(options);
      domains.push({ domain, made: new Checkpoint(domain, [options, geometry]) });
      return domain;
    }
    const { domain, made } = domains[used]!;
    made.restore();
    return domain;
  }

  /** What is taken now stays taken in every order. */
  keep(): void {
    for (const pool of this.pools.values()) pool.kept = pool.used;
  }

  /** Takes back what the last order took. */
  rewind(): void {
    for (const pool of this.pools.values()) pool.used = pool.kept;
  }
}
