/** A kind of device from a module of a user. */
import { UserError } from '../../input/user-error.js';
import { loadUserModule } from '../../input/user-module.js';
import { DEVICE_FORMAT, type DeviceModel } from '../../kit/definition.js';
import * as kit from '../../kit/index.js';
import type { ModuleDevice } from './find.js';
import { refuseExit, toItsEnd } from './own-thread.js';
import { placeOf, reasonOf, shownFile } from './place.js';

/** Every export is looked at, arrays too. Throws UserError with the author's file and line. */
export async function loadModel({ file, kind }: ModuleDevice): Promise<DeviceModel> {
  let exported: Record<string, unknown>;
  try {
    refuseExit(file);
    exported = await toItsEnd(loadUserModule(file, { 'iopf/device': kit }));
  } catch (error) {
    throw moduleMistake(error, file);
  }
  const values = new Set(Object.values(exported).flat());
  return pick([...values].filter(isModel), kind.split('#')[1], file);
}

/** What the author's code threw, as an error for the user. */
export function moduleMistake(error: unknown, file: string): UserError {
  return new UserError(`${placeOf(error, file) ?? shownFile(file)}: ${reasonOf(error)}`);
}

function isModel(value: unknown): value is DeviceModel {
  if (typeof value !== 'object' || value === null) return false;
  return String((value as Partial<DeviceModel>).format).startsWith('iopf.device/');
}

function pick(models: DeviceModel[], wanted: string | undefined, file: string): DeviceModel {
  const where = shownFile(file);
  if (models.length === 0)
    throw new UserError(`${where}: exports no device; export what defineDevice returns`);
  const names = models.map(({ definition }) => definition.name).join(', ');
  const found =
    wanted === undefined ? models : models.filter(({ definition }) => definition.name === wanted);
  if (found.length === 0) throw new UserError(`${where}: has no device ${wanted}, but ${names}`);
  if (found.length > 1)
    throw new UserError(`${where}: has the devices ${names}; name one, as in ${where}#NAME@BDF`);
  const { definition, format } = found[0]!;
  if (format !== DEVICE_FORMAT)
    throw new UserError(
      `${where}: ${definition.name} is ${format}; this iopf has ${DEVICE_FORMAT}`,
    );
  return found[0]!;
}
