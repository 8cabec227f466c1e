/** What `iopf plan` plans for: classes of machines, hosts, policies and a bound, from YAML. */
import { z } from 'zod';
import { duration, formatKey, someBytes } from '../input/schemas.js';
import { parseUserFile } from '../input/user-file.js';
import { machineFields, sourceMistake } from '../sim/machine-source.js';

const DAY_MOST = 48;
const CLASSES_MOST = 32;
/** Types of machines, which are classes at their times of day, count in a byte. */
const TYPES_MOST = 255;
const MACHINES_MOST = 1e6;

const className = z.string().min(1);
const machineClass = z.strictObject({
  name: className,
  count: z.number().int().min(1).max(MACHINES_MOST).describe('machines of this class'),
  cores: z.number().min(0).max(4096).default(0).describe('of the host, that a machine takes'),
  ...machineFields,
  day: z
    .array(z.number().min(0).max(1))
    .min(1)
    .max(DAY_MOST)
    .optional()
    .describe('share of its memory that a machine needs in each part of the day'),
  shifts: z
    .number()
    .int()
    .min(1)
    .max(DAY_MOST)
    .default(1)
    .describe('the day of a machine begins up to so many parts later, at random'),
});

export const fleetSchema = z.strictObject({
  schema: formatKey('fleet'),
  about: z.string().optional(),
  model: z.string().default('fast').describe('cost model'),
  policies: z.array(z.string()).min(1).max(16).describe('as of iopf compare, without memory='),
  slowdownBound: z
    .number()
    .positive()
    .max(99)
    .describe('the slowdown that is accepted, in percent'),
  percentile: z
    .number()
    .min(1)
    .max(100)
    .default(95)
    .describe('share of seeds, in percent, whose slowdown keeps within the bound'),
  seeds: z.number().int().min(1).max(100).default(3).describe('seeds of each curve'),
  trials: z
    .number()
    .int()
    .min(1)
    .max(1000)
    .default(5)
    .describe('orders in which machines come, at random, that are packed'),
  host: z.strictObject({
    memory: someBytes,
    reserved: z
      .union([someBytes, z.literal(0)])
      .default(0)
      .describe('that no machine gets'),
    cores: z.number().positive().max(65_536).optional().describe('none: cores do not matter'),
    swap: z
      .union([z.literal('none'), duration])
      .optional()
      .describe('none, or the time that a page takes to come back; else as the model has it'),
    price: z.number().nonnegative().optional().describe('of a host, in any currency'),
  }),
  classes: z.array(machineClass).min(1).max(CLASSES_MOST),
});

export type Fleet = z.output<typeof fleetSchema>;
export type MachineClass = Fleet['classes'][number];

/** Parses a fleet; `name` is how errors call it. Throws UserError. */
export function parseFleet(text: string, name: string): Fleet {
  const { data, error } = parseUserFile(text, name, fleetSchema);
  const days = new Set(data.classes.flatMap(({ day }) => (day === undefined ? [] : [day.length])));
  let types = 0;
  let machines = 0;
  for (const [index, each] of data.classes.entries()) {
    const at = ['classes', index];
    const mistake = sourceMistake(each);
    if (data.classes.findIndex(({ name }) => name === each.name) < index)
      throw error([...at, 'name'], 'is the name of another class');
    if (mistake !== null) throw error(at, mistake);
    if (each.day !== undefined && days.size > 1)
      throw error([...at, 'day'], 'all days need the same number of parts');
    if (each.shifts > (each.day?.length ?? 1))
      throw error([...at, 'shifts'], 'are more than the parts of the day');
    types += each.shifts;
    machines += each.count;
  }
  if (types > TYPES_MOST) throw error(['classes'], `have more than ${TYPES_MOST} shifts in all`);
  if (machines > MACHINES_MOST)
    throw error(['classes'], `have more than ${MACHINES_MOST} machines`);
  if (data.host.reserved >= data.host.memory)
    throw error(['host', 'reserved'], 'is all of the memory');
  for (const [index, policy] of data.policies.entries())
    if (policy.includes('memory='))
      throw error(['policies', index], 'the memory of a host stands in host.memory');
  return data;
}
