import { Domain, type DomainOptions } from '../iommu/domain.js';
import type { IommuProperties } from '../iommu/geometry.js';
import { IoSpace, type IoSpaceOptions } from './io-space.js';

/** Makes what front ends are made of; a checker puts other parts in their place. */
export interface EngineParts {
  readonly space: (options: IoSpaceOptions) => IoSpace;
  readonly domain: (options: DomainOptions & { readonly geometry: IommuProperties }) => Domain;
}

export const shippedEngine: EngineParts = {
  space: (options) => new IoSpace(options),
  domain: (options) => new Domain(options),
};
