/** The machine of a run from a YAML file: IOMMU, groups, devices. */
import { LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { defaultGeometry } from '../iommu/geometry.js';
import { PAGE_SIZE } from '../mm/address-space.js';
import { defaultVfio, type MachineSpec, parseAddress } from './machine-spec.js';
import { UserError } from './user-error.js';

const size = z.union([z.number().int().nonnegative(), z.string().regex(/^(0x[0-9a-fA-F]+|\d+[KMGT]?)$/)]);

const iommuSchema = z.strictObject({
  addressWidth: z.number().int().min(32).max(48).default(defaultGeometry.addressWidth),
  snoopControl: z.boolean().default(defaultGeometry.snoopControl),
  interruptRemapping: z.boolean().default(defaultGeometry.interruptRemapping),
  reserved: z
    .array(
      z.strictObject({ start: size, size, kind: z.enum(['msi', 'direct', 'reserved']).default('reserved') }),
    )
    .optional(),
});

const vfioSchema = z.strictObject({
  dmaEntryLimit: z.number().int().min(0).max(0xffffffff).default(defaultVfio.dmaEntryLimit),
  allowUnsafeInterrupts: z.boolean().default(defaultVfio.allowUnsafeInterrupts),
  type1Module: z.boolean().default(defaultVfio.type1Module),
});

const machineSchema = z.strictObject({
  iommu: iommuSchema.optional(),
  vfio: vfioSchema.optional(),
  groups: z
    .array(
      z.strictObject({
        number: z.number().int().min(0).max(65535).optional(),
        viable: z.boolean().default(true),
        devices: z
          .array(
            z.strictObject({
              kind: z.string(),
              address: z.string(),
              canFault: z.boolean().default(true),
              options: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).default({}),
            }),
          )
          .min(1),
      }),
    )
    .min(1),
});

/** Parses a machine file. `name` is how errors call it. Throws UserError with the line and what is allowed. */
export function parseMachine(text: string, name: string): MachineSpec {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const syntax = document.errors[0];
  if (syntax !== undefined)
    throw new UserError(
      `${name}:${lines.linePos(syntax.pos[0]).line}: ${syntax.message.split(/ at line |\n/)[0]}`,
    );
  const lineOf = (path: readonly PropertyKey[]): number => {
    for (let depth = path.length; depth > 0; depth--) {
      const parent = document.getIn(path.slice(0, depth - 1), true) as
        | { items?: readonly { key?: { value?: unknown; range?: readonly number[] } }[] }
        | undefined;
      const pair = parent?.items?.find((item) => item?.key?.value === path[depth - 1]);
      const range = pair?.key?.range ?? (document.getIn(path.slice(0, depth), true) as Ranged)?.range;
      if (range) return lines.linePos(range[0]!).line;
    }
    return 1;
  };
  const parsed = machineSchema.safeParse(document.toJS());
  if (!parsed.success) {
    // A misspelt key also makes the right one missing: name the cause.
    const { issues } = parsed.error;
    const issue = issues.find(({ code }) => code === 'unrecognized_keys') ?? issues[0]!;
    const key = issue.code === 'unrecognized_keys' ? issue.keys[0]! : null;
    const path = key === null ? issue.path : [...issue.path, key];
    const what =
      key === null
        ? issue.message
        : `unknown key "${key}"; allowed here: ${allowedKeys(issue.path).join(', ')}`;
    const place = path.length === 0 ? '' : `${path.join('.')}: `;
    throw new UserError(`${name}:${lineOf(path)}: ${place}${what}`);
  }
  const { groups } = parsed.data;
  const iommu = parsed.data.iommu ?? iommuSchema.parse({});
  const reserved = iommu.reserved?.map((range, index) => {
    const start = parseSize(range.start);
    const bytes = parseSize(range.size);
    if (start % PAGE_SIZE !== 0 || bytes % PAGE_SIZE !== 0 || bytes === 0)
      throw new UserError(
        `${name}:${lineOf(['iommu', 'reserved', index, 'start'])}: iommu.reserved.${index}: start and size must be multiples of 4096, and size not 0`,
      );
    return { firstPage: start / PAGE_SIZE, pages: bytes / PAGE_SIZE, kind: range.kind };
  });
  return {
    geometry: {
      ...defaultGeometry,
      addressWidth: iommu.addressWidth,
      snoopControl: iommu.snoopControl,
      interruptRemapping: iommu.interruptRemapping,
      reserved: reserved ?? defaultGeometry.reserved,
    },
    vfio: parsed.data.vfio ?? defaultVfio,
    groups: groups.map((group, groupIndex) => ({
      number: group.number ?? null,
      viable: group.viable,
      devices: group.devices.map((device, index) => ({
        kind: device.kind,
        address: parseAddress(
          device.address,
          `${name}:${lineOf(['groups', groupIndex, 'devices', index, 'address'])}`,
        ),
        canFault: device.canFault,
        options: Object.fromEntries(
          Object.entries(device.options).map(([key, value]) => [key, String(value)]),
        ),
      })),
    })),
  };
}

type Ranged = { range?: readonly number[] } | undefined;

/** The keys of the schema's object at a path. */
function allowedKeys(path: readonly PropertyKey[]): string[] {
  const names = path.map((part) => (typeof part === 'number' ? '[]' : String(part))).join('.');
  const known: Record<string, readonly string[]> = {
    '': ['iommu', 'vfio', 'groups'],
    vfio: ['dmaEntryLimit', 'allowUnsafeInterrupts', 'type1Module'],
    iommu: ['addressWidth', 'snoopControl', 'interruptRemapping', 'reserved'],
    'iommu.reserved.[]': ['start', 'size', 'kind'],
    'groups.[]': ['number', 'viable', 'devices'],
    'groups.[].devices.[]': ['kind', 'address', 'canFault', 'options'],
  };
  return [...(known[names] ?? [])];
}

/** Bytes of `64M`, `0x1000` or a number. */
function parseSize(value: string | number): number {
  if (typeof value === 'number') return value;
  const units: Record<string, number> = { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };
  const unit = units[value.at(-1)!];
  return unit === undefined ? Number(value) : Number(value.slice(0, -1)) * unit;
}
