/**
 * What three families of unmodified drivers asked of a 82576, and what an existing model answered:
 * each read of BAR 0 is answered here as it was there, or in a way that docs/devices.md names.
 *
 * The traces are lines: `w0 OFFSET VALUE` and `r0 OFFSET VALUE` (in hexadecimal; 0 or 1 is the
 * card), `flr CARD`, `repeat LINES TIMES` (the lines before it came as often again), `phase NAME`,
 * and `gap` where lines were left out.
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { igb } from '../../src/device/igb/kind.js';
import { igbRegisters } from '../../src/device/igb/registers.js';
import type { PciFunction } from '../../src/vfio/pci-function.js';
import { command, Program, read32, write32 } from './program.js';

const folder = new URL('./igb-traces/', import.meta.url);

function linesOf(name: string): string[] {
  const text = gunzipSync(readFileSync(new URL(`${name}.txt.gz`, folder))).toString();
  const lines: string[] = [];
  for (const line of text.trimEnd().split('\n')) {
    const repeat = /^repeat (\d+) (\d+)$/.exec(line);
    if (!repeat) lines.push(line);
    else {
      const again = lines.slice(-Number(repeat[1]));
      for (let time = 0; time < Number(repeat[2]); time++) lines.push(...again);
    }
  }
  return lines;
}

function cards(): PciFunction[] {
  return [0, 1].map((index) => {
    const program = new Program({ pages: 1 });
    const card = igb.create({ mac: `52:54:00:00:00:0${index + 1}` }, program.surroundings);
    card.open(program.sink);
    command(card, 6);
    return card;
  });
}

/** Why a read may differ; docs/devices.md has them as a table. */
const reasons = {
  /** EECD.AUTO_RD: the EEPROM has been read when the reset is over. */
  'EEPROM read': ({ name, bits }) => name === 'EECD' && bits === 0x200,
  /** EEMNGCTL.CFG_DONE: the PHY is set up when its reset is over. */
  'PHY configured': ({ name, bits }) => name === 'EEMNGCTL' && bits === 0x40000,
  /** Autonegotiation is done at once, so the link is there earlier, and its interrupt. */
  link: ({ name, bits }) =>
    (name === 'STATUS' && bits === 0x2) ||
    (name === 'MDIC' && [0x24, 0x20, 0x4, 0x4000].includes(bits)) ||
    (name === 'ICR' && without(bits, 0x80000004)),
  /** CTRL.RFCE and TFCE: whether to pause is the driver's decision. */
  'flow control': ({ name, bits }) => name === 'CTRL' && without(bits, 0x18000000),
  /** A replay has no other end and no descriptors. */
  traffic: ({ name, bits }) =>
    (counters.test(name) && bits !== 0) ||
    /^[RT]DH\[/.test(name) ||
    (name === 'ICR' && without(bits, 0x800001d5)),
  /** SYSTIM does not run. */
  clock: ({ name }) => /^SYSTIM[LH]$/.test(name),
  /** EIAC and EIAM keep what is written. */
  'automatic masks': ({ name }) => name === 'EIAC' || name === 'EIAM',
  /** Virtual functions are none: VFLRE, STATUS.Num_VFs and IOV_Active. */
  'virtual functions': ({ name, bits }) =>
    name === '0x00c88' || (name === 'STATUS' && without(bits, 0x7c000)),
  /** Lines were left out: a register that was written there is unknown until it is read. */
  gap: ({ name, bits, isUnknown }) => isUnknown || (name === 'STATUS' && without(bits, 0x80482)),
} satisfies Record<string, (difference: Difference) => boolean>;

const counters = /^(G[PO]|T[POSR]|[BM]P|P[RT]C|IAC|RU)/;

/** All of these bits are in the mask. */
function without(bits: number, mask: number): boolean {
  return (bits & ~mask) === 0;
}

interface Difference {
  readonly name: string;
  /** Those that differ; signed. */
  readonly bits: number;
  /** The register has not been read since lines were left out. */
  readonly isUnknown: boolean;
}

interface Replay {
  readonly reads: number;
  readonly counts: Map<string, number>;
  readonly unexplained: string[];
}

function replay(name: string): Replay {
  const functions = cards();
  const counts = new Map<string, number>();
  const unexplained: string[] = [];
  let known: Set<string> | null = null;
  let reads = 0;
  for (const line of linesOf(name)) {
    const [operation = '', first = '', second = ''] = line.split(' ');
    if (operation === 'flr') functions[Number(first)]!.reset();
    if (operation === 'gap') known = new Set();
    if (!/^[rw][01]$/.test(operation)) continue;
    const card = functions[Number(operation[1])]!;
    const offset = Number.parseInt(first, 16);
    const value = Number.parseInt(second, 16);
    const register = operation[1] + igbRegisters.name(offset);
    if (operation.startsWith('w')) {
      write32(card, 0, offset, value);
      continue;
    }
    reads++;
    const found = read32(card, 0, offset);
    const isUnknown = known !== null && !known.has(register);
    known?.add(register);
    if (found === value) continue;
    const difference = { name: register.slice(1), bits: found ^ value, isUnknown };
    const reason = Object.entries(reasons).find(([, explains]) => explains(difference))?.[0];
    if (reason === undefined) unexplained.push(`${line}: ${found.toString(16)}`);
    else counts.set(reason, (counts.get(reason) ?? 0) + 1);
    if (reason === 'gap') write32(card, 0, offset, value);
  }
  return { reads, counts, unexplained };
}

describe('recorded drivers', () => {
  const seen = new Set<string>();

  it.each([
    ['linux-msix', 16_839],
    ['linux-msi', 7_568],
    ['linux-intx', 7_848],
    ['dpdk', 12_371],
    ['dpdk2', 13_206],
    ['selftest', 1_455],
  ])('%s: %i reads', (name, recorded) => {
    const { reads, counts, unexplained } = replay(name);
    expect(unexplained).toEqual([]);
    expect(reads).toBe(recorded);
    for (const reason of counts.keys()) seen.add(reason);
  });

  it('differ in each of the ways that are written down', () => {
    expect([...seen].sort()).toEqual(Object.keys(reasons).sort());
  });
});
