import type { Observer } from '../iommu/observer.js';

/** One observer that forwards to several; null where there is none. */
export function tee(observers: readonly (Observer | null)[]): Observer | null {
  const all = observers.filter((observer) => observer !== null);
  if (all.length <= 1) return all[0] ?? null;
  return {
    map: (iovaPage, frame, count) => {
      for (const observer of all) observer.map(iovaPage, frame, count);
    },
    unmap: (iovaPage, count, removed) => {
      for (const observer of all) observer.unmap(iovaPage, count, removed);
    },
    pageRequest: (device, iovaPage, access, pasid, group, last) => {
      for (const observer of all)
        observer.pageRequest(device, iovaPage, access, pasid, group, last);
    },
    pageResponse: (device, pasid, group, code) => {
      for (const observer of all) observer.pageResponse(device, pasid, group, code);
    },
    mappingAdded: (mapping) => {
      for (const observer of all) observer.mappingAdded?.(mapping);
    },
    mappingRemoved: (mapping) => {
      for (const observer of all) observer.mappingRemoved?.(mapping);
    },
    invalidate: (space, first, count, removed, reclaimed) => {
      for (const observer of all) observer.invalidate?.(space, first, count, removed, reclaimed);
    },
    spaceEnded: (space) => {
      for (const observer of all) observer.spaceEnded?.(space);
    },
    pageLost: (device, iovaPage) => {
      for (const observer of all) observer.pageLost?.(device, iovaPage);
    },
    accessed: (iovaPage, access, refused) => {
      for (const observer of all) observer.accessed?.(iovaPage, access, refused);
    },
    faultMade: (rule) => {
      for (const observer of all) observer.faultMade?.(rule);
    },
  };
}
