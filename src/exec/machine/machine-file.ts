/** The machine of a run from a YAML file: IOMMU, groups, devices. */
import { z } from 'zod';
import { formatPciAddress, notPciAddress, parsePciAddress } from '../../abi/pci-address.js';
import { bytes, formatKey } from '../../input/schemas.js';
import { parseUserFile } from '../../input/user-file.js';
import { defaultGeometry } from '../../iommu/geometry.js';
import { PAGE_SIZE } from '../../mm/address-space.js';
import { defaultVfio, type MachineSpec } from './machine-spec.js';

const iommuSchema = z.strictObject({
  addressWidth: z.number().int().min(32).max(48).default(defaultGeometry.addressWidth),
  snoopControl: z.boolean().default(defaultGeometry.snoopControl),
  interruptRemapping: z.boolean().default(defaultGeometry.interruptRemapping),
  reserved: z
    .array(
      z.strictObject({
        start: bytes,
        size: bytes,
        kind: z.enum(['msi', 'direct', 'reserved']).default('reserved'),
      }),
    )
    .optional(),
});

const vfioSchema = z.strictObject({
  dmaEntryLimit: z.number().int().min(0).max(0xffffffff).default(defaultVfio.dmaEntryLimit),
  allowUnsafeInterrupts: z.boolean().default(defaultVfio.allowUnsafeInterrupts),
  type1Module: z.boolean().default(defaultVfio.type1Module),
  container: z.enum(['type1', 'iommufd']).default(defaultVfio.container),
  cdev: z.boolean().default(defaultVfio.cdev),
  iommufdTest: z.boolean().default(defaultVfio.iommufdTest),
});

/** A machine without an IOMMU: its functions are in no group, so VFIO cannot have them. */
const NO_IOMMU = 'none';

export const machineSchema = z.strictObject(
  {
    schema: formatKey('machine'),
    // A union would lose where in the mapping an error stands.
    iommu: z
      .preprocess(
        (given) => (given === NO_IOMMU ? null : given === null ? NO_IOMMU : given),
        iommuSchema.nullable(),
      )
      .optional(),
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
                options: z
                  .record(z.string(), z.union([z.string(), z.number(), z.boolean()]))
                  .default({}),
              }),
            )
            .min(1, 'must list at least one device'),
        }),
      )
      .min(1, 'must list at least one group')
      .optional(),
  },
  'must be a mapping with groups:, or iommu: none, and perhaps iommu: and vfio:',
);

/**
 * Parses a machine file. `name` is how errors call it. Throws UserError with the line and what is
 * allowed.
 */
export function parseMachine(text: string, name: string): MachineSpec {
  const { data, error, place } = parseUserFile(text, name, machineSchema);
  if (data.iommu === null) {
    if (data.groups !== undefined)
      throw error(['groups'], 'a machine without an IOMMU (iommu: none) has no groups');
    return { geometry: null, vfio: data.vfio ?? defaultVfio, groups: [] };
  }
  if (data.groups === undefined) throw error([], 'needs groups:, or iommu: none');
  const numbers = data.groups.map(({ number }) => number);
  numbers.forEach((number, index) => {
    if (number !== undefined && numbers.indexOf(number) !== index)
      throw error(['groups', index, 'number'], `there is already a group ${number}`);
  });
  const iommu = data.iommu ?? iommuSchema.parse({});
  const reserved = iommu.reserved?.map((range, index) => {
    const { start, size } = range;
    if (start % PAGE_SIZE !== 0 || size % PAGE_SIZE !== 0 || size === 0)
      throw error(
        ['iommu', 'reserved', index],
        'start and size must be multiples of 4096, and size not 0',
      );
    return { firstPage: start / PAGE_SIZE, pages: size / PAGE_SIZE, kind: range.kind };
  });
  return {
    geometry: {
      ...defaultGeometry,
      addressWidth: iommu.addressWidth,
      snoopControl: iommu.snoopControl,
      interruptRemapping: iommu.interruptRemapping,
      reserved: reserved ?? defaultGeometry.reserved,
    },
    vfio: data.vfio ?? defaultVfio,
    groups: data.groups.map((group, groupIndex) => ({
      number: group.number ?? null,
      viable: group.viable,
      devices: group.devices.map((device, index) => {
        const address = parsePciAddress(device.address);
        if (address === null)
          throw error(
            ['groups', groupIndex, 'devices', index, 'address'],
            notPciAddress(device.address),
          );
        const options = Object.entries(device.options).map(([key, value]) => [key, String(value)]);
        return {
          kind: device.kind,
          address: formatPciAddress(address),
          canFault: device.canFault,
          options: Object.fromEntries(options) as Record<string, string>,
          where: place(['groups', groupIndex, 'devices', index]),
        };
      }),
    })),
  };
}
