import { IO_QUEUES, MSIX_VECTORS } from './limits.js';
import { Status } from './status.js';

/**
 * Feature identifiers (NVM Express 1.4, 5.21.1): those that an I/O controller must have, and the
 * write cache.
 */
export const FeatureId = {
  ARBITRATION: 0x01,
  POWER_MANAGEMENT: 0x02,
  TEMPERATURE_THRESHOLD: 0x04,
  ERROR_RECOVERY: 0x05,
  VOLATILE_WRITE_CACHE: 0x06,
  NUMBER_OF_QUEUES: 0x07,
  INTERRUPT_COALESCING: 0x08,
  INTERRUPT_VECTOR_CONFIGURATION: 0x09,
  WRITE_ATOMICITY: 0x0a,
  ASYNC_EVENT_CONFIGURATION: 0x0b,
} as const;

/** Of DW10 in Set Features: keep over a reset. */
const SAVE = 0x80000000;
/** Select field of DW10 in Get Features: current, default, saved, capabilities. */
const CAPABILITIES = 3;
/** Capabilities: the host may change it. */
const CHANGEABLE = 4;

/** Thresholds in kelvin: over, under. Composite temperature is 20 °C. */
export const TEMPERATURE = 293;
export const TEMPERATURE_WARNING = 343;
const COMPOSITE_SENSOR = 0;

const defaults = new Map<number, number>([
  // No limit on what one arbitration round takes.
  [FeatureId.ARBITRATION, 7],
  [FeatureId.POWER_MANAGEMENT, 0],
  [FeatureId.ERROR_RECOVERY, 0],
  [FeatureId.VOLATILE_WRITE_CACHE, 1],
  [FeatureId.INTERRUPT_COALESCING, 0],
  [FeatureId.WRITE_ATOMICITY, 0],
  [FeatureId.ASYNC_EVENT_CONFIGURATION, 0],
  [FeatureId.NUMBER_OF_QUEUES, (IO_QUEUES - 1) | ((IO_QUEUES - 1) << 16)],
]);

/** What Set Features has set. */
export class Features {
  /** Result word of the last `get` or `set` that succeeded. */
  result = 0;
  /** Writes may be complete before they are durable. */
  writeCache = true;
  private values = new Map(defaults);
  private vectors = new Map<number, number>();
  private over = TEMPERATURE_WARNING;
  private under = 0;

  reset(): void {
    this.writeCache = true;
    this.values = new Map(defaults);
    this.vectors.clear();
    this.over = TEMPERATURE_WARNING;
    this.under = 0;
  }

  /** I/O queues that the host has been given; queue identifiers go from 1 to this. */
  get submissionQueues(): number {
    return (this.values.get(FeatureId.NUMBER_OF_QUEUES)! & 0xffff) + 1;
  }

  get completionQueues(): number {
    return (this.values.get(FeatureId.NUMBER_OF_QUEUES)! >>> 16) + 1;
  }

  /** The composite temperature has passed a threshold. */
  get temperatureCritical(): boolean {
    return TEMPERATURE >= this.over || TEMPERATURE <= this.under;
  }

  /** Events of SMART / health that the host wants to hear of: bits as in the critical warning. */
  get healthEvents(): number {
    return this.values.get(FeatureId.ASYNC_EVENT_CONFIGURATION)! & 0xff;
  }

  /** Get Features with words 10 and 11. Returns a status. */
  get(dw10: number, dw11: number): number {
    const id = dw10 & 0xff;
    const select = (dw10 >>> 8) & 7;
    if (select > CAPABILITIES || !this.has(id)) return Status.INVALID_FIELD;
    if (select === CAPABILITIES) {
      this.result = CHANGEABLE;
      return Status.SUCCESS;
    }
    const current = select === 0;
    if (id === FeatureId.TEMPERATURE_THRESHOLD) {
      if (((dw11 >>> 16) & 0xf) !== COMPOSITE_SENSOR) return Status.INVALID_FIELD;
      const type = (dw11 >>> 20) & 3;
      if (type > 1) return Status.INVALID_FIELD;
      const over = current ? this.over : TEMPERATURE_WARNING;
      this.result = type === 0 ? over : current ? this.under : 0;
    } else if (id === FeatureId.INTERRUPT_VECTOR_CONFIGURATION) {
      const vector = dw11 & 0xffff;
      if (vector >= MSIX_VECTORS) return Status.INVALID_FIELD;
      this.result = vector | (current ? (this.vectors.get(vector) ?? 0) : 0);
    } else {
      this.result = (current ? this.values : defaults).get(id)!;
    }
    return Status.SUCCESS;
  }

  /**
   * Set Features; `queuesExist`: I/O queues have been created, so their number stays. Returns a
   * status.
   */
  set(dw10: number, dw11: number, queuesExist: boolean): number {
    const id = dw10 & 0xff;
    this.result = 0;
    if (!this.has(id)) return Status.INVALID_FIELD;
    if ((dw10 & SAVE) !== 0) return Status.FEATURE_NOT_SAVEABLE;
    switch (id) {
      case FeatureId.TEMPERATURE_THRESHOLD:
        return this.setTemperature(dw11);
      case FeatureId.POWER_MANAGEMENT:
        // There is one power state.
        if ((dw11 & 0x1f) !== 0) return Status.INVALID_FIELD;
        break;
      case FeatureId.VOLATILE_WRITE_CACHE:
        this.writeCache = (dw11 & 1) !== 0;
        break;
      case FeatureId.INTERRUPT_VECTOR_CONFIGURATION: {
        const vector = dw11 & 0xffff;
        if (vector >= MSIX_VECTORS) return Status.INVALID_FIELD;
        this.vectors.set(vector, dw11 & 0x10000);
        return Status.SUCCESS;
      }
      case FeatureId.NUMBER_OF_QUEUES: {
        const submission = dw11 & 0xffff;
        const completion = dw11 >>> 16;
        if (queuesExist) return Status.COMMAND_SEQUENCE_ERROR;
        if (submission === 0xffff || completion === 0xffff) return Status.INVALID_FIELD;
        this.result =
          Math.min(submission, IO_QUEUES - 1) | (Math.min(completion, IO_QUEUES - 1) << 16);
        this.values.set(id, this.result);
        return Status.SUCCESS;
      }
    }
    this.values.set(id, dw11);
    return Status.SUCCESS;
  }

  private has(id: number): boolean {
    return (
      defaults.has(id) ||
      id === FeatureId.TEMPERATURE_THRESHOLD ||
      id === FeatureId.INTERRUPT_VECTOR_CONFIGURATION
    );
  }

  private setTemperature(dw11: number): number {
    const sensor = (dw11 >>> 16) & 0xf;
    const type = (dw11 >>> 20) & 3;
    // 15: all sensors that there are.
    if ((sensor !== COMPOSITE_SENSOR && sensor !== 0xf) || type > 1) return Status.INVALID_FIELD;
    if (type === 0) this.over = dw11 & 0xffff;
    else this.under = dw11 & 0xffff;
    return Status.SUCCESS;
  }
}
