/** Kinds of memory, as the vectors name them. */
export type MemoryKind =
  | 'anon'
  | 'devzero'
  | 'norsv'
  | 'hugetlb'
  | 'shared'
  | 'memfd'
  | 'memfdPrivate'
  | 'tmpfsFile';

/** Kinds without a file. */
export const ANONYMOUS: ReadonlySet<MemoryKind> = new Set(['anon', 'devzero', 'norsv', 'hugetlb']);
