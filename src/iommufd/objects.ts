/**
 * Objects of a /dev/iommu and their ids (kernel: struct iommufd_object).
 *
 * Terms: an id counts from 1, and the lowest that is free is given. A *use* is a reference that
 * some other object or an open descriptor holds: an object goes only without uses.
 */
import { Bug } from '../abi/bug.js';
import { fail } from '../abi/errno.js';

export interface IommufdObject {
  /** 0: it has none yet. */
  id: number;
  /** References of others. */
  users: number;
  /** It has left the table: it lets go of all that it uses. */
  destroy(): void;
}

/** Has the id of an object that went with another, until all go (kernel: a tombstone). */
const BURIED: IommufdObject = { id: 0, users: 0, destroy: () => {} };

type ObjectClass<T> = abstract new (...args: never[]) => T;

export class ObjectTable {
  /** By id; 0 is nobody's. */
  private readonly objects: (IommufdObject | null)[] = [null];

  /** Gives an object the lowest free id. */
  add(object: IommufdObject): void {
    const { objects } = this;
    const free = objects.indexOf(null, 1);
    object.id = free < 0 ? objects.length : free;
    objects[object.id] = object;
  }

  /** Takes an object out that nobody uses, and ends it. */
  remove(object: IommufdObject): void {
    if (object.users !== 0 || this.objects[object.id] !== object)
      throw new Bug('an object in use is removed', { id: object.id, users: object.users });
    this.objects[object.id] = null;
    object.destroy();
  }

  /** `remove` of an object that a program did not destroy: its id is not given again. */
  bury(object: IommufdObject): void {
    const { id } = object;
    this.remove(object);
    this.objects[id] = BURIED;
  }

  /** The object of this id, or null where there is none or it is something else. */
  find<T extends IommufdObject>(id: number, kind: ObjectClass<T>): T | null {
    const object = this.objects[id];
    return object instanceof kind ? object : null;
  }

  /** `find`; ENOENT where there is none. */
  get<T extends IommufdObject>(id: number, kind: ObjectClass<T>): T {
    return this.find(id, kind) ?? fail('ENOENT');
  }

  /** Whatever has this id, or null. */
  any(id: number): IommufdObject | null {
    const object = this.objects[id] ?? null;
    return object === BURIED ? null : object;
  }

  get isEmpty(): boolean {
    return this.objects.every((object) => object === null);
  }

  /** All that there are, in order of ids. */
  *[Symbol.iterator](): Generator<IommufdObject, void, void> {
    for (const object of [...this.objects]) if (object !== null && object !== BURIED) yield object;
  }

  /** Everything goes, what is used after what uses it. */
  removeAll(): void {
    for (let left = [...this]; left.length > 0; left = [...this]) {
      const leaves = left.filter((object) => object.users === 0);
      if (leaves.length === 0) throw new Bug('objects use one another in a circle', {});
      for (const object of leaves) if (this.objects[object.id] === object) this.remove(object);
    }
  }
}
