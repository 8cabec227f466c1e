import type { CallerFile, ReservedDescriptor } from './caller.js';
import type { VfioFile } from './file.js';

/** The descriptors of a caller inside this process: they are never closed, nor used up. */
export class DescriptorList {
  private readonly files: (VfioFile | null)[] = [];

  file(fd: number): CallerFile | null {
    const file = this.files[fd];
    return file ? { kind: 'vfio', file } : null;
  }

  install(file: VfioFile): number {
    return this.files.push(file) - 1;
  }

  reserve(file: VfioFile): ReservedDescriptor {
    const number = this.files.push(null) - 1;
    return {
      number,
      install: () => {
        this.files[number] = file;
      },
      cancel: () => undefined,
    };
  }
}
