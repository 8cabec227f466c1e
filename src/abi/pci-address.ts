/** PCI addresses as Linux writes them, `0000:02:00.0` (kernel: pci_name, pci_setup_device). */

/** Segment (Linux: domain) 0 to 0xffff, bus 0 to 255, device and function in one byte. */
export interface PciAddress {
  readonly segment: number;
  readonly bus: number;
  /** device << 3 | function */
  readonly devfn: number;
}

const ADDRESS = /^(?:([0-9a-f]{4}):)?([0-9a-f]{2}):([01][0-9a-f])\.([0-7])$/i;

/** Parses `0000:02:00.0`, or `02:00.0` in segment 0; digits in either case. Null: it is none. */
export function parsePciAddress(text: string): PciAddress | null {
  const match = ADDRESS.exec(text);
  if (match === null) return null;
  const [segment, bus, device, number] = match.slice(1).map((part) => Number.parseInt(part, 16));
  return {
    segment: match[1] === undefined ? 0 : segment!,
    bus: bus!,
    devfn: (device! << 3) | number!,
  };
}

/** `0000:02:00.0`: in full and in lower case, the one form that sysfs and VFIO know. */
export function formatPciAddress({ segment, bus, devfn }: PciAddress): string {
  const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');
  return `${hex(segment, 4)}:${hex(bus, 2)}:${hex(devfn >> 3, 2)}.${devfn & 7}`;
}

/** What an error says of a text that is no PCI address. */
export function notPciAddress(text: string): string {
  return (
    `"${text}" is not a PCI address; expected DDDD:BB:DD.F in hexadecimal ` +
    '(device up to 1f, function up to 7), for example 0000:02:00.0'
  );
}
