/**
 * Whether a user's file has changed what JavaScript itself brings: the engine would work with it,
 * and what it finds would say nothing.
 */
const prototypes: readonly (readonly [name: string, object: object])[] = [
  ['Object', Object],
  ['Object.prototype', Object.prototype],
  ['Function.prototype', Function.prototype],
  ['Array', Array],
  ['Array.prototype', Array.prototype],
  ['String.prototype', String.prototype],
  ['Number', Number],
  ['Number.prototype', Number.prototype],
  ['Math', Math],
  ['JSON', JSON],
  ['Reflect', Reflect],
  ['Map.prototype', Map.prototype],
  ['Set.prototype', Set.prototype],
  ['WeakMap.prototype', WeakMap.prototype],
  ['Promise.prototype', Promise.prototype],
  ['Error.prototype', Error.prototype],
  ['DataView.prototype', DataView.prototype],
  ['the prototype of typed arrays', Object.getPrototypeOf(Int8Array.prototype)],
  ['the prototype of array iterators', Object.getPrototypeOf([][Symbol.iterator]())],
  [
    'the prototype of generators',
    Object.getPrototypeOf(Object.getPrototypeOf((function* () {})())),
  ],
];

type Saved = readonly [object: object, name: string, key: PropertyKey, was: PropertyDescriptor];

// Nothing below may go through what may have been changed.
const { getOwnPropertyDescriptor, defineProperty, is: same } = Object;
const { ownKeys, deleteProperty } = Reflect;
const saved: Saved[] = [];
const counts: number[] = [];
for (const [name, object] of prototypes) {
  const keys = ownKeys(object);
  counts.push(keys.length);
  for (const key of keys)
    saved.push([object, name, key, getOwnPropertyDescriptor(object, key)!] as const);
}

/** What was changed first, as `Array.prototype.push`, after which all is as it was; or null. */
export function mendBuiltins(): string | null {
  let changed: string | null = null;
  for (let i = 0; i < saved.length; i++) {
    const entry = saved[i]!;
    const was = entry[3];
    const is = getOwnPropertyDescriptor(entry[0], entry[2]);
    if (is !== undefined && same(is.value, was.value) && is.get === was.get && is.set === was.set)
      continue;
    defineProperty(entry[0], entry[2], was);
    changed ??= `${entry[1]}.${typeof entry[2] === 'symbol' ? 'a symbol' : (entry[2] as string)}`;
  }
  for (let i = 0; i < prototypes.length; i++) {
    const entry = prototypes[i]!;
    const keys = ownKeys(entry[1]);
    // New ones come last.
    for (let at = keys.length - 1; at >= counts[i]!; at--) {
      const key = keys[at]!;
      deleteProperty(entry[1], key);
      changed ??= `${entry[0]}.${typeof key === 'symbol' ? 'a symbol' : (key as string)}`;
    }
  }
  return changed;
}
