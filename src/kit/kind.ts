/** A definition as a kind of device: what the rest of iopf takes. */
import type { DeviceKind } from '../device/kind.js';
import { DeviceOptions, mmapOption, type OptionTable } from '../device/options.js';
import type { CapabilityDescription, PciDescription } from '../device/pci/description.js';
import { type EndpointContext, PciEndpoint } from '../device/pci/endpoint.js';
import { gapsOf } from '../device/pci/region-gaps.js';
import type { PciFunction, RegionArea } from '../vfio/pci-function.js';
import type {
  BarDefinition,
  DeviceDefinition,
  DeviceModel,
  OptionDefinition,
} from './definition.js';
import { type Fate, GuardedFunction } from './guarded-function.js';
import { barTables, KitDevice } from './kit-device.js';

/** Where BARs are put, from here on. */
const FIRST_ADDRESS = 0xe0000000;
const FIRST_PORT = 0xc000;
// Where capabilities lie.
const POWER_AT = 0x40;
const MSI_AT = 0x50;
const MSIX_AT = 0x68;
const EXPRESS_AT = 0x78;
const VENDOR_AT = 0xb8;
const ATS_AT = 0x100;
const PRI_AT = 0x110;

const logOption = { log: 'registers: each access of a register is a line on stderr' } as const;

/** `fate`: is told what becomes of the device; absent: errors of its handlers are the caller's. */
export function kindOf({ definition }: DeviceModel, fate: Fate | null = null): DeviceKind {
  const { name, options = {}, summary } = definition;
  const table: OptionTable = {
    ...Object.fromEntries(Object.entries(options).map(([key, each]) => [key, aboutOf(each)])),
    ...mmapOption,
    ...logOption,
  };
  const tables = barTables(definition);
  return {
    name,
    summary,
    options: table,
    create(given, context: EndpointContext): PciFunction {
      const parsed = new DeviceOptions(name, table, given);
      const isLogged = parsed.choice('log', ['none', 'registers'], 'none') === 'registers';
      const values = Object.fromEntries(
        Object.entries(options).map(([key, each]) => [key, givenValue(parsed, key, each)]),
      );
      const count = fate?.dma ?? { begun: 0, ended: 0 };
      let device!: KitDevice;
      const described = describe(definition, parsed.isSparse);
      const endpoint = new PciEndpoint(name, described, context, (made) => {
        device = new KitDevice(made, definition, tables, context.host, isLogged, count);
        device.create(values);
        return device;
      });
      return fate === null ? endpoint : new GuardedFunction(endpoint, device, fate);
    },
  };
}

function aboutOf({ about, default: usual, type }: OptionDefinition): string {
  const words = typeof type === 'string' ? '' : `${type.join(', ')}: `;
  return `${words}${about}${usual === '' ? '' : `; ${usual} unless given`}`;
}

function givenValue(parsed: DeviceOptions, key: string, option: OptionDefinition): string | number {
  const { type } = option;
  if (type === 'number') return parsed.number(key, option.default as number);
  if (type === 'size') return parsed.size(key, option.default as number);
  if (type === 'text') return parsed.text(key) ?? (option.default as string);
  return parsed.choice(key, type, option.default as string);
}

function describe(definition: DeviceDefinition, isSparse: boolean): PciDescription {
  let address = FIRST_ADDRESS;
  let port = FIRST_PORT;
  const place = ({ io, size }: BarDefinition): number => {
    const at = Math.ceil((io ? port : address) / size) * size;
    if (io) port = at + size;
    else address = at + size;
    return at;
  };
  return {
    vendor: definition.vendor,
    device: definition.device,
    subsystemVendor: definition.subsystemVendor ?? 0,
    subsystem: definition.subsystem ?? 0,
    revision: definition.revision ?? 0,
    classCode: definition.classCode,
    pin: definition.pin ?? false,
    line: 0,
    sparse: isSparse,
    bars: definition.bars.map((bar) => ({
      index: bar.index,
      size: bar.size,
      address: place(bar),
      ...(bar.io ? { io: true } : {}),
      ...(bar.wide ? { wide: true } : {}),
      mappable: !bar.io,
      ...(bar.io ? {} : { trapped: trappedAreas(bar) }),
    })),
    capabilities: capabilities(definition),
  };
}

/** All that is not open. */
function trappedAreas({ open = [], size }: BarDefinition): RegionArea[] {
  return gapsOf(
    [...open].sort((one, other) => one.offset - other.offset),
    size,
  );
}

function capabilities(definition: DeviceDefinition): CapabilityDescription[] {
  const { express = true, msi, msix, power = true, stalls, vendorCapability } = definition;
  const list: CapabilityDescription[] = [];
  if (power) list.push({ kind: 'power', offset: POWER_AT });
  if (msi) list.push({ kind: 'msi', offset: MSI_AT, vectors: msi.vectors });
  if (msix) list.push({ kind: 'msix', offset: MSIX_AT, ...msix });
  if (express) list.push({ kind: 'express', offset: EXPRESS_AT });
  if (vendorCapability) {
    const { body, writable } = vendorCapability;
    list.push({
      kind: 'vendor',
      offset: VENDOR_AT,
      body: Uint8Array.from([body.length + 3, ...body]),
      ...(writable ? { writable: Uint8Array.from([0, ...writable]) } : {}),
    });
  }
  if (stalls) list.push({ kind: 'ats', offset: ATS_AT }, { kind: 'pri', offset: PRI_AT });
  return list;
}
