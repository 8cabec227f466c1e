/**
 * Takes the element at an index out of a list; those behind it move up. As `splice`, which
 * allocates.
 */
export function removeAt<T>(list: T[], index: number): void {
  for (let i = index + 1; i < list.length; i++) list[i - 1] = list[i]!;
  list.pop();
}
