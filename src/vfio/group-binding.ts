import type { IoSpace } from '../ioas/io-space.js';
import type { DeviceBinding } from './binding.js';
import type { Container } from './container.js';

/** A device that is held by its group, whose container has an IOMMU for as long. */
export class GroupBinding implements DeviceBinding {
  readonly isGranted = true;

  constructor(
    private readonly container: Container,
    /** Lets go of the group. */
    readonly close: () => void,
  ) {}

  get space(): IoSpace | null {
    return this.container.space;
  }

  get nesting(): boolean {
    return this.container.nesting;
  }
}
