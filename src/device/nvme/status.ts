/**
 * Status codes of completions: status code type * 256 + status code (NVM Express 1.4, figures
 * 127–130).
 */
export const Status = {
  SUCCESS: 0x000,
  INVALID_OPCODE: 0x001,
  INVALID_FIELD: 0x002,
  DATA_TRANSFER_ERROR: 0x004,
  INTERNAL_ERROR: 0x006,
  ABORT_REQUESTED: 0x007,
  ABORTED_SQ_DELETION: 0x008,
  INVALID_NAMESPACE: 0x00b,
  COMMAND_SEQUENCE_ERROR: 0x00c,
  INVALID_SGL_SEGMENT: 0x00d,
  INVALID_SGL_COUNT: 0x00e,
  SGL_LENGTH_INVALID: 0x00f,
  SGL_TYPE_INVALID: 0x011,
  INVALID_USE_OF_CMB: 0x012,
  PRP_OFFSET_INVALID: 0x013,
  WRITE_PROTECTED: 0x020,
  LBA_OUT_OF_RANGE: 0x080,
  COMPLETION_QUEUE_INVALID: 0x100,
  INVALID_QUEUE_IDENTIFIER: 0x101,
  INVALID_QUEUE_SIZE: 0x102,
  ASYNC_EVENT_LIMIT: 0x105,
  INVALID_INTERRUPT_VECTOR: 0x108,
  INVALID_LOG_PAGE: 0x109,
  INVALID_FORMAT: 0x10a,
  INVALID_QUEUE_DELETION: 0x10c,
  FEATURE_NOT_SAVEABLE: 0x10d,
  FEATURE_NOT_CHANGEABLE: 0x10e,
  COMMAND_SIZE_LIMIT: 0x183,
  WRITE_FAULT: 0x280,
  READ_ERROR: 0x281,
  COMPARE_FAILURE: 0x285,
} as const;

/** Beside a status: trying again will not help (Do Not Retry); bit 14 of the status field. */
const DO_NOT_RETRY = 0x4000;

/**
 * The 15-bit status field of a completion. Where the cause may pass (memory, media), the command
 * may be tried again.
 */
export function statusField(status: number): number {
  switch (status) {
    case Status.SUCCESS:
    case Status.DATA_TRANSFER_ERROR:
    case Status.INTERNAL_ERROR:
    case Status.ABORT_REQUESTED:
    case Status.ABORTED_SQ_DELETION:
      return status;
    default:
      return status | DO_NOT_RETRY;
  }
}

/**
 * Answered instead of a status by a command that completes later (an asynchronous event request).
 */
export const NO_COMPLETION = -1;
