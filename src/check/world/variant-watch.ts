/**
 * What a user's variant does and keeps while it is checked: how often its own methods ran, and the
 * state that it has beyond that of the shipped parts. Two states that differ in that alone are two.
 *
 * Not seen are variables of closures and of the module. `#` fields cannot be seen, so that a class
 * with some is refused.
 */

import { described } from '../../input/described.js';
import type { IopfParts } from '../../ioas/iopf/iopf.js';
import { ScenarioMistake } from '../verify/scenario-mistake.js';
import type { Digest } from './digest.js';
import { iopfWith, type Parts, type StateWatch, shippedParts, type Variant } from './parts.js';

type Class = new (...args: never[]) => object;

/** Prototypes whose methods are counted already: a file's variants may share classes. */
const counted = new WeakSet<object>();
/** Calls of methods that are not shipped, in this thread. */
let calls = 0;

export class VariantWatch implements StateWatch {
  readonly parts: Parts;
  private readonly callsBefore = calls;
  private readonly instances: object[] = [];
  /** By prototype of a shipped class: the fields of its objects. */
  private readonly shippedFields = new Map<object, ReadonlySet<string>>();

  /**
   * `shippedWorld` is one of shipped parts alone. Throws `ScenarioMistake` where a part is no
   * subclass of the shipped one.
   */
  constructor(
    private readonly variant: Variant,
    shippedWorld: object,
  ) {
    this.noteFields(shippedWorld, new Set());
    const own: Partial<Record<keyof Parts, unknown>> = {};
    for (const [name, part] of Object.entries(variant.parts)) {
      if (name === 'requests') own.requests = this.watchedRequests(part as Parts['requests']);
      else own[name as keyof Parts] = this.watchedPart(name, part as Class);
    }
    this.parts = { ...shippedParts, ...(own as Partial<Parts>), watch: this };
  }

  get name(): string {
    return this.variant.name;
  }

  /** How often methods that are not shipped ran in this thread, since this watch was made. */
  get calls(): number {
    return calls - this.callsBefore;
  }

  begin(): void {
    this.instances.length = 0;
  }

  addTo(digest: Digest): void {
    const met = new Set<object>();
    for (const instance of this.instances) {
      const shipped = this.fieldsOf(instance);
      for (const [name, value] of Object.entries(instance))
        if (!shipped.has(name)) addValue(digest, value, met);
    }
  }

  private watchedPart(
    name: string,
    part: Class & { readonly replaced?: Partial<IopfParts> },
  ): Class {
    if (name === 'Iopf' && part.replaced !== undefined) {
      const parts = Object.entries(part.replaced).map(([inner, Inner]) => [
        inner,
        this.watchedClass(inner, Inner as Class, null),
      ]);
      return iopfWith(Object.fromEntries(parts) as Partial<IopfParts>);
    }
    return this.watchedClass(name, part, shippedParts[name as keyof Parts] as Class);
  }

  /** `shipped`: what the part must be a subclass of; null: anything. */
  private watchedClass(name: string, part: Class, shipped: Class | null): Class {
    const where = `variant ${this.variant.name}: ${name}`;
    if (typeof part !== 'function') throw new ScenarioMistake(`${where} is ${described(part)}`);
    if (shipped !== null && !(part.prototype instanceof shipped))
      throw new ScenarioMistake(
        `${where} is no subclass of the shipped ${name}, that of the iopf which checks it ` +
          `(${new URL('../..', import.meta.url).pathname})`,
      );
    this.countMethods(where, part.prototype as object);
    return new Proxy(part, {
      construct: (target, args, newTarget) => {
        const made = Reflect.construct(target, args, newTarget) as object;
        this.instances.push(made);
        return made;
      },
    });
  }

  private watchedRequests(requests: Parts['requests']): Parts['requests'] {
    const where = `variant ${this.variant.name}: requests`;
    return (device, limits) => {
      calls++;
      const made = requests(device, limits);
      for (const each of [made, made.queue]) {
        this.countMethods(where, Object.getPrototypeOf(each) as object);
        this.instances.push(each);
      }
      return made;
    };
  }

  /** Of a prototype and those above it that are not shipped. */
  private countMethods(where: string, prototype: object): void {
    let at = prototype;
    for (; !counted.has(at) && !this.isShipped(at); at = Object.getPrototypeOf(at)) {
      if (/(^|[\s;{.])#[a-zA-Z_$]/m.test(String(at.constructor)))
        throw new ScenarioMistake(
          `${where}: class ${at.constructor.name} keeps something in # fields, where the check ` +
            'cannot tell states apart; use private or plain fields',
        );
      counted.add(at);
      for (const [name, was] of Object.entries(Object.getOwnPropertyDescriptors(at)))
        if (name !== 'constructor') Object.defineProperty(at, name, counting(was));
    }
  }

  private isShipped(prototype: object): boolean {
    return prototype === Object.prototype || this.shippedFields.has(prototype);
  }

  private fieldsOf(instance: object): ReadonlySet<string> {
    let at = Object.getPrototypeOf(instance) as object;
    while (!this.isShipped(at)) at = Object.getPrototypeOf(at) as object;
    return this.shippedFields.get(at) ?? new Set();
  }

  /** The fields of all objects below a root. */
  private noteFields(value: unknown, met: Set<object>): void {
    if (typeof value !== 'object' || value === null || met.has(value)) return;
    met.add(value);
    if (ArrayBuffer.isView(value)) return;
    if (!isPlain(value)) {
      const prototype = Object.getPrototypeOf(value) as object;
      if (!this.shippedFields.has(prototype))
        this.shippedFields.set(prototype, new Set(Object.keys(value)));
    }
    const held = value instanceof Map || value instanceof Set ? [...value].flat() : [];
    for (const each of [...Object.values(value), ...held]) this.noteFields(each, met);
  }
}

/** The same property, whose calls are counted. */
function counting(was: PropertyDescriptor): PropertyDescriptor {
  const { value, get } = was as { value?: unknown; get?(): unknown };
  if (typeof value === 'function')
    return {
      ...was,
      value(this: unknown, ...args: unknown[]): unknown {
        calls++;
        return (value as (...args: unknown[]) => unknown).apply(this, args);
      },
    };
  if (get === undefined) return was;
  return {
    ...was,
    get(this: unknown): unknown {
      calls++;
      return get.call(this);
    },
  };
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return Array.isArray(value) || prototype === Object.prototype || prototype === null;
}

const bits = new DataView(new ArrayBuffer(8));

function addValue(digest: Digest, value: unknown, met: Set<object>): void {
  if (typeof value === 'number') {
    bits.setFloat64(0, value);
    digest.add(bits.getInt32(0));
    digest.add(bits.getInt32(4));
  } else if (typeof value !== 'object' || value === null) {
    const text = typeof value === 'function' ? 'function' : String(value);
    for (let i = 0; i < text.length; i++) digest.add(text.charCodeAt(i));
  } else if (!met.has(value)) {
    met.add(value);
    addObject(digest, value, met);
  }
  digest.add(0x10ffff);
}

/** Of an object with a class what it says of itself: which others it knows is told elsewhere. */
function addObject(digest: Digest, value: object, met: Set<object>): void {
  if (value instanceof Map || value instanceof Set || ArrayBuffer.isView(value)) {
    const held = ArrayBuffer.isView(value) ? new Uint8Array(value.buffer) : [...value].flat();
    for (const each of held) addValue(digest, each, met);
    return;
  }
  for (const [key, each] of Object.entries(value)) {
    if (isPlain(value)) addValue(digest, key, met);
    else if (typeof each === 'object' && each !== null) continue;
    addValue(digest, each, met);
  }
}
