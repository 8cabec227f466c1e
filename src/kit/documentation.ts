/** What a definition says of a device, as text. */

import { formOf } from '../device/own-points.js';
import type { BarDefinition, DeviceModel, RegisterDefinition } from './definition.js';
import { kindOf } from './kind.js';
import { pointsOf } from './points.js';

/** Name, summary, options, points for `--inject`, the registers of each BAR: a line for each. */
export function describeDevice(model: DeviceModel): string {
  const { name, options, summary } = kindOf(model);
  const { bars } = model.definition;
  return [
    `  ${name}  ${summary}`,
    ...Object.entries(options).map(([key, about]) => `      ${key}=  ${about}`),
    ...pointsOf(model).map((point) => `      ${formOf(point)}  at ${point.event}: ${point.fault}`),
    ...bars.flatMap(barLines),
  ].join('\n');
}

function barLines({ index, io, open = [], registers = [], size }: BarDefinition): string[] {
  const width = Math.max(0, ...registers.map((register) => nameOf(register).length));
  return [
    `      BAR ${index}, ${hex(size)} bytes${io ? ' of I/O space' : ''}`,
    ...registers.map((register) => {
      const { about = '', offset, reset = 0, rule = 'rw' } = register;
      const start = reset === 0 ? '' : ` (${hex(reset)} after a reset)`;
      const line = `${hex(offset).padStart(8)}  ${nameOf(register).padEnd(width)}  ${rule.padEnd(3)}`;
      return `      ${line}  ${about}${start}`.trimEnd();
    }),
    ...open.map((area) => `      ${hex(area.offset).padStart(8)}  open, ${hex(area.size)} bytes`),
  ];
}

function nameOf({ count, name }: RegisterDefinition): string {
  return count === undefined ? name : `${name}[${count}]`;
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
