/** The sum of what is in [first, end). */
export function sum(numbers: readonly number[], first: number, end: number): number {
  let total = 0;
  for (let i = first; i < end; i++) total += numbers[i]!;
  return total;
}
