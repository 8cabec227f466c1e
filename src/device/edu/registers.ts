/**
 * Registers and bits of QEMU's teaching device (QEMU documentation, "EDU device"), offsets in bytes
 * of BAR 0.
 */

export const EduRegister = {
  IDENTIFICATION: 0x00,
  LIVENESS: 0x04,
  FACTORIAL: 0x08,
  STATUS: 0x20,
  INTERRUPT_STATUS: 0x24,
  INTERRUPT_RAISE: 0x60,
  INTERRUPT_ACKNOWLEDGE: 0x64,
  DMA_SOURCE: 0x80,
  DMA_DESTINATION: 0x88,
  DMA_COUNT: 0x90,
  DMA_COMMAND: 0x98,
  /** First byte behind the last register. */
  END: 0xa0,
} as const;

/** RR rr 00 ed: version 1.0. */
export const EDU_IDENTIFICATION = 0x010000ed;

/**
 * STATUS: interrupt when the factorial is done. The computing bit (0x01) is never seen set: there
 * is no clock (edu-device.ts).
 */
export const EDU_STATUS_INTERRUPT = 0x80;

/** DMA_COMMAND. */
export const EduDma = { START: 0x1, TO_MEMORY: 0x2, INTERRUPT: 0x4 } as const;

/** What the device's own events put into INTERRUPT_STATUS. */
export const EduEvent = { FACTORIAL: 0x1, DMA: 0x100 } as const;

/** The internal buffer, in the device's address space: what DMA addresses mean on its side. */
export const EDU_BUFFER = 0x40000;
export const EDU_BUFFER_BYTES = 4096;

export const EDU_BAR_BYTES = 0x100000;
/** Addresses are cut to 28 bits by default. */
export const EDU_DMA_MASK = 0xfffffff;
