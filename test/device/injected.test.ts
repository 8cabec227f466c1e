/** Faults on purpose, as a driver of the device notices them. */
import { describe, expect, it } from 'vitest';
import { PciCommand, PciInterruptIndex } from '../../src/abi/pci.js';
import { edu } from '../../src/device/edu/kind.js';
import { EduRegister } from '../../src/device/edu/registers.js';
import { CapabilityType, CommonRegister } from '../../src/device/virtio/registers.js';
import { NetFeature } from '../../src/device/virtio-net/network-card.js';
import { Injection } from '../../src/exec/inject/injection.js';
import { parseRule } from '../../src/inject/rule.js';
import { IgbDriver, plainFrame } from './igb-driver.js';
import { command, hex, Program, read, read32, write32 } from './program.js';
import { headerOf, NetDriver, received } from './virtio-driver.js';

const clock = { nowMs: 0 };
const injection = (rules: readonly string[]): Injection =>
  new Injection(
    { rules: rules.map((text) => parseRule(text)), seed: 0, again: '' },
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

describe('a link', () => {
  const linked = (rule: string) => {
    clock.nowMs = 0;
    const made = injection([rule]);
    return { made, faults: made.deviceFaults.bind(made) };
  };

  it('of an 82576 goes down before a frame, with LSC, and comes up at its time', () => {
    const { faults, made } = linked('link:down:2=200ms');
    const driver = new IgbDriver({}, { faults }).start();
    const card = made.functionFor(driver.card, []);
    const isUp = () => (driver.read(0x8) & 2) !== 0;
    driver.read(0xc0);
    driver.send(plainFrame(60));
    expect([driver.receive().length, isUp(), driver.read(0xc0) & 4]).toEqual([1, true, 0]);
    driver.send(plainFrame(60));
    driver.send(plainFrame(60));
    expect([driver.receive().length, isUp(), driver.read(0xc0) & 4]).toEqual([0, false, 4]);
    card.poll();
    expect(isUp()).toBe(false);
    clock.nowMs = 200;
    card.poll();
    expect([isUp(), driver.read(0xc0) & 4]).toEqual([true, 4]);
    driver.send(plainFrame(61));
    expect(driver.receive()).toHaveLength(1);
  });

  it('of a virtio card goes down with a change of its configuration, without a frame', () => {
    const { faults, made } = linked('link:down@1s');
    const driver = new NetDriver({ program: { faults } }).start([NetFeature.STATUS]);
    const card = made.functionFor(driver.device, []);
    const buffers = driver.fill(4);
    const state = () => [
      driver.get(CapabilityType.DEVICE, 6, 2),
      driver.common(CommonRegister.CONFIG_GENERATION, 1),
    ];
    const frame = Uint8Array.from({ length: 60 }, (_, index) => index);
    driver.send(frame);
    expect(received(driver, buffers)).toEqual([headerOf(1) + hex(frame)]);
    expect(state()).toEqual([1, 0]);
    driver.get(CapabilityType.ISR, 0, 1);
    expect(driver.program.sink.level).toBe(false);
    clock.nowMs = 1000;
    card.poll();
    expect(state()).toEqual([0, 1]);
    expect(driver.program.sink.level).toBe(true);
    expect(driver.get(CapabilityType.ISR, 0, 1)).toBe(2);
    driver.send(frame);
    expect(received(driver, buffers)).toEqual([]);
    expect(driver.tx.takeAll()).toHaveLength(2);
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
