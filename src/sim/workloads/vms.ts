/** Several machines on one host. */
import { z } from 'zod';
import { duration, someBytes } from '../../input/schemas.js';
import { machineFields } from '../machine-source.js';

const MACHINES_MOST = 256;
const count = z.number().int().min(1).max(MACHINES_MOST);

export const vms = z.strictObject({
  kind: z.literal('vms'),
  apart: duration.default(0).describe('each begins this long after the one before it'),
  slowdownBound: z
    .number()
    .positive()
    .max(99)
    .describe('the slowdown that is accepted, in percent'),
  host: someBytes.optional().describe('memory of the host: how many machines fit is told, too'),
  count: count.optional().describe('machines, where all are of one kind'),
  ...machineFields,
  machines: z
    .array(z.strictObject({ name: z.string().min(1), count, ...machineFields }))
    .min(1)
    .max(32)
    .optional()
    .describe('kinds of machines, in the place of count and of what one machine is'),
});

export type Vms = z.output<typeof vms>;
