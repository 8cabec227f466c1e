/** Faults on purpose, as a driver of the device notices them. */
import { describe, expect, it } from 'vitest';
import { PciCommand, PciInterruptIndex } from '../../src/abi/pci.js';
import { edu } from '../../src/device/edu/kind.js';
import { EduRegister } from '../../src/device/edu/registers.js';
import { Injection } from '../../src/exec/inject/injection.js';
import { parseRule } from '../../src/inject/rule.js';
import { command, Program, read, read32, write32 } from './program.js';

const clock = { nowMs: 0 };
const injection = (rules: readonly string[]): Injection =>
  new Injection(
    { rules: rules.map(parseRule), seed: 0, again: '' },
    () => clock.nowMs,
    () => {},
  );

/** An edu with its memory decoded, whose pin and messages have been armed by nobody. */
function started(rules: readonly string[], options: Record<string, string> = {}) {
  clock.nowMs = 0;
  const program = new Program({ pages: 64 });
  const inner = edu.create(options, program.surroundings);
  const device = injection(rules).functionFor(inner, []);
  device.open(program.sink);
  command(device, PciCommand.MEMORY | PciCommand.MASTER);
  return { program, inner, device };
}

describe('an interrupt', () => {
  it('of the pin is lost, and the level with it, until it goes up again', () => {
    const { device, program } = started(['interrupt:drop:1']);
    write32(device, 0, EduRegister.INTERRUPT_RAISE, 1);
    expect(program.sink.take()).toEqual([]);
    write32(device, 0, EduRegister.INTERRUPT_ACKNOWLEDGE, 1);
    program.sink.take();
    write32(device, 0, EduRegister.INTERRUPT_RAISE, 1);
    expect(program.sink.take()).toEqual(['intx 1']);
  });

  it('that nobody caused is the pin up and down, and nothing where it is up', () => {
    const { device, program } = started(['interrupt:spurious:2+']);
    read32(device, 0, 0);
    expect(program.sink.take()).toEqual(['intx 1', 'intx 0']);
    write32(device, 0, EduRegister.INTERRUPT_RAISE, 1);
    program.sink.take();
    read32(device, 0, 0);
    expect(program.sink.take()).toEqual([]);
    expect(program.sink.level).toBe(true);
  });

  it.each([
    [PciInterruptIndex.MSI, 'msi 0'],
    [PciInterruptIndex.MSIX, 'msix 0'],
  ])('that nobody caused is a message where index %i is armed', (index, expected) => {
    const { device, program } = started(['interrupt:spurious@1s']);
    device.interruptsEnabled(index, 1);
    device.poll();
    expect(program.sink.take()).toEqual([]);
    clock.nowMs = 1000;
    device.poll();
    device.poll();
    expect(program.sink.take()).toEqual([expected]);
    device.interruptsEnabled(index, 0);
  });
});

describe('a register', () => {
  it('reads the value of the rule, at its place and its times alone', () => {
    const { device } = started(['register:bar0+0x4:2=0x12345678']);
    write32(device, 0, EduRegister.LIVENESS, 1);
    const reads = [1, 2, 3].map(() => read32(device, 0, EduRegister.LIVENESS));
    expect(reads).toEqual([0xfffffffe, 0x12345678, 0xfffffffe]);
    expect(read32(device, 0, 0)).toBe(0x010000ed);
  });

  it('of config space too, as narrow as it is read', () => {
    const { device } = started(['register:config+0x0=0xabcd1234']);
    expect([...read(device, 7, 0, 2)]).toEqual([0x34, 0x12]);
  });
});

describe('a function', () => {
  it('without a rule of its own is itself', () => {
    const { device, inner } = started(['register:bar0+0x0=1@device=03:00.0', 'call:*=EIO']);
    expect(device).toBe(inner);
  });

  it('with one is asked and told of all that it answers to', () => {
    const told: unknown[] = [];
    const mappings = { mapped: () => {}, unmapping: () => {} };
    const inner = Object.assign(edu.create({}, new Program({ pages: 64 }).surroundings), {
      mappings,
      decodes: (bar: number) => bar === 2,
      intxMasked: (masked: boolean) => told.push(masked),
    });
    const device = injection(['interrupt:drop:9']).functionFor(inner, []);
    expect(device).not.toBe(inner);
    expect(device.mappings).toBe(mappings);
    expect([device.decodes?.(0), device.decodes?.(2)]).toEqual([false, true]);
    device.intxMasked?.(true);
    expect(told).toEqual([true]);
  });
});
