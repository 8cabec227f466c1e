/** Faults on purpose where a device meets its IOMMU, and in its commands. */

import {
  CommandFault,
  type CommandFaults,
  type DeviceFaults,
  type LinkFaults,
} from '../../device/faults.js';
import type { FaultValue, OwnFaults } from '../../device/own-points.js';
import type { DmaGate, StalledRequest, Translator } from '../../device/translator.js';
import { runDirect } from '../../flow/direct.js';
import type { ArmedRule, Plan } from '../../inject/plan.js';
import { PARTIAL_GROUP, QUEUE_FULL } from '../../inject/rule.js';
import type { IommuDevice } from '../../iommu/device.js';
import { apertureEnd } from '../../iommu/geometry.js';
import type { Asker, RefusalCause } from '../../iommu/incidents.js';
import {
  type DeviceFaultHandler,
  EXEC,
  type FaultLevel,
  NO_PASID,
  type PageResponse,
} from '../../iommu/page-request.js';
import { PAGE_SIZE } from '../../mm/address-space.js';

/** What the plan has for a device. */
export function deviceFaults(
  plan: Plan,
  iommu: IommuDevice,
  nowMs: () => number,
  link: LinkFaults | null,
): DeviceFaults {
  const { address } = iommu;
  const requests = plan.at(['iommu:request'], address);
  const accesses = plan.at(['dma:refuse', 'memory:take', 'memory:take-all'], address);
  const own = plan.at(['own'], address);
  const commands = plan.at(['nvme:command', 'nvme:CSTS.CFS'], address);
  return {
    translator: requests.length === 0 ? null : new FaultyTranslator(iommu, requests),
    gate: accesses.length === 0 ? null : new AccessGate(iommu, accesses),
    commands: commands.length === 0 ? null : new RuledCommands(commands, nowMs),
    link,
    own: own.length === 0 ? null : new OwnRules(own),
  };
}

function meets({ rule }: ArmedRule, iova: number, length: number, access: number): boolean {
  const { iova: range } = rule;
  if ((rule.access & access) === 0) return false;
  return range === null || (iova < range.end && iova + length > range.start);
}

class AccessGate implements DmaGate {
  constructor(
    private readonly iommu: IommuDevice,
    private readonly rules: readonly ArmedRule[],
  ) {}

  refuses(iova: number, length: number, access: number): boolean {
    let refused = false;
    for (const each of this.rules) {
      if (!meets(each, iova, length, access) || !each.passes()) continue;
      if (each.rule.point === 'dma:refuse') refused = true;
      else if (each.rule.point === 'memory:take-all') this.takeAll();
      else this.iommu.pageLost(Math.floor(iova / PAGE_SIZE));
    }
    return refused;
  }

  private takeAll(): void {
    const { domain, handlers, iotlb, nested } = this.iommu;
    if (domain === null) return;
    const handler = handlers.at(nested ? 'stage2' : 'flat');
    const end = apertureEnd(domain.geometry);
    for (let page = 0; ; page++) {
      page = domain.nextPresent(page, end);
      if (page === end) break;
      handler?.pageLost(this.iommu, page);
    }
    iotlb.flushAll();
  }
}

/** An IOMMU whose answers to page requests the rules can change. */
class FaultyTranslator implements Required<Translator> {
  private refusing = false;

  constructor(
    private readonly iommu: IommuDevice,
    private readonly rules: readonly ArmedRule[],
  ) {}

  get counters(): Translator['counters'] {
    return this.iommu.counters;
  }

  get observer(): IommuDevice['observer'] {
    return this.iommu.observer;
  }

  get dmaBytesRead(): number {
    return this.iommu.dmaBytesRead;
  }

  set dmaBytesRead(bytes: number) {
    this.iommu.dmaBytesRead = bytes;
  }

  get dmaBytesWritten(): number {
    return this.iommu.dmaBytesWritten;
  }

  set dmaBytesWritten(bytes: number) {
    this.iommu.dmaBytesWritten = bytes;
  }

  get asksProgram(): boolean {
    return this.iommu.asksProgram;
  }

  translate(iovaPage: number, access: number): number {
    return this.iommu.translate(iovaPage, access);
  }

  fault(iovaPage: number, access: number): boolean {
    const { iommu } = this;
    this.refusing = false;
    if (!iommu.iopfEnabled) return iommu.fault(iovaPage, access);
    for (const each of this.rules) {
      if (!meets(each, iovaPage * PAGE_SIZE, PAGE_SIZE, access) || !each.passes()) continue;
      this.refusing = true;
      if (each.rule.what === QUEUE_FULL) {
        iommu.counters.requestsOverflowed++;
        return true;
      }
      const level = iommu.nested ? 'stage2' : 'flat';
      if (each.rule.what === PARTIAL_GROUP) return this.answerInPart(level, iovaPage, access);
      const answer = answering(each.rule.what);
      return iommu.requests.fault(answer, level, iovaPage, access);
    }
    return iommu.fault(iovaPage, access);
  }

  /**
   * Asks in a group of two, whose last asks to execute, which no mapping grants: what can be
   * granted is there then, and the device is told of the group alone (PCIe 10.4.2).
   */
  private answerInPart(level: FaultLevel, iovaPage: number, access: number): boolean {
    const { iommu } = this;
    const { queue } = iommu;
    const page = iommu.stage2Page(iovaPage, access);
    if (page < 0 || queue.full) return iommu.fault(iovaPage, access);
    const common = { kind: 'page-request', iovaPage: page, pasid: NO_PASID, level } as const;
    const group = queue.takeId();
    runDirect(iommu.report({ ...common, access, group, last: false }));
    runDirect(iommu.report({ ...common, access: access | EXEC, group, last: true }));
    return false;
  }

  request(iovaPage: number, access: number): StalledRequest | null {
    return this.iommu.request(iovaPage, access);
  }

  stage2Page(iovaPage: number, access: number): number {
    return this.iommu.stage2Page(iovaPage, access);
  }

  pageLost(iovaPage: number): void {
    this.iommu.pageLost(iovaPage);
  }

  refused(iova: number, access: number, cause: RefusalCause, asker: Asker): void {
    const isRule = this.refusing && cause !== 'bus mastering off';
    this.iommu.refused(iova, access, isRule ? 'injected' : cause, asker);
    this.refusing = false;
  }
}

/** Answers each page request with one code. */
function answering(code: number): DeviceFaultHandler {
  return {
    answer: () => code as (typeof PageResponse)['INVALID' | 'FAILURE'],
    // biome-ignore lint/correctness/useYield: it never waits
    *handle() {
      return code as (typeof PageResponse)['INVALID' | 'FAILURE'];
    },
    pageLost: () => {},
  };
}

class RuledCommands implements CommandFaults {
  lateMs = 0;

  constructor(
    private readonly rules: readonly ArmedRule[],
    readonly nowMs: () => number,
  ) {}

  /** Of several rules at one command the first decides; the others count it too. */
  command(queue: number, opcode: number): number {
    let fault: number = CommandFault.NONE;
    for (const each of this.rules) {
      const { command, point, queue: only, what } = each.rule;
      if (only !== null && only !== queue) continue;
      if (command !== null && command.isAdmin !== (queue === 0)) continue;
      if (command !== null && command.opcode !== null && command.opcode !== opcode) continue;
      if (!each.passes() || fault !== CommandFault.NONE) continue;
      if (point === 'nvme:CSTS.CFS') fault = CommandFault.FATAL;
      else fault = what;
      this.lateMs = each.rule.lateMs;
    }
    return fault;
  }
}

/** Points that a device declares itself. */
class OwnRules implements OwnFaults {
  constructor(private readonly rules: readonly ArmedRule[]) {}

  /** Of several rules at one point the first decides; the others count it too. */
  passes(kind: string, point: string): FaultValue | null {
    let fault: FaultValue | null = null;
    for (const each of this.rules) {
      const { own } = each.rule;
      if (own!.kind === kind && own!.name === point && each.passes()) fault ??= own!.value;
    }
    return fault;
  }
}
