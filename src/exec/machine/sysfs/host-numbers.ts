/** Numbers that the host has given out already. */
import { existsSync, readdirSync } from 'node:fs';

/** The first group number that the host does not use. */
export function firstFreeGroup(groups = '/sys/kernel/iommu_groups'): number {
  const used = existsSync(groups) ? readdirSync(groups).map(Number) : [];
  return Math.max(0, ...used) + 1;
}

/** The first number, from 0, that makes no name of the host's behind this stem. */
export function firstFree(stem: string): number {
  let number = 0;
  while (existsSync(`${stem}${number}`)) number++;
  return number;
}
