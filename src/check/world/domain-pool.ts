import type { Domain, DomainOptions } from '../../iommu/domain.js';
import type { IommuProperties } from '../../iommu/geometry.js';
import { IOVA } from './operation.js';
import type { Parts } from './parts.js';

interface Pool {
  readonly options: DomainOptions;
  readonly domains: Domain[];
  used: number;
  /** Those that are in use at the beginning of every order. */
  kept: number;
}

/**
 * Domains that are used again by the next order, because making one costs more than a whole order
 * does.
 */
export class DomainPool {
  private readonly pools = new Map<IommuProperties, Pool>();

  constructor(
    private readonly DomainClass: Parts['Domain'],
    /** IOVA pages that orders may map. */
    private readonly pages: number,
  ) {}

  /** Domains behind an IOMMU of this geometry are made with these options. */
  add(geometry: IommuProperties, options: DomainOptions): void {
    if (!this.pools.has(geometry))
      this.pools.set(geometry, { options, domains: [], used: 0, kept: 0 });
  }

  /** An empty domain. */
  take(geometry: IommuProperties): Domain {
    const pool = this.pools.get(geometry)!;
    const index = pool.used++;
    if (index === pool.domains.length) pool.domains.push(new this.DomainClass(pool.options));
    const domain = pool.domains[index]!;
    domain.devices.length = 0;
    domain.unmap(IOVA, this.pages);
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
