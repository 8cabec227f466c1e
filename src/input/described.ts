/** A value in a few words. */
export function described(value: unknown): string {
  if (value === null || typeof value !== 'object') {
    const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
    return typeof value === 'function' ? 'a function' : text.slice(0, 40);
  }
  return Array.isArray(value) ? 'an array' : 'an object';
}
