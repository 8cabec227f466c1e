/**
 * Ioctls of the file that test/exec/programs/reserving-engine.ts serves: _IO(';', N). ASIDE: as
 * INSTALL, but put aside while another call reserves a number, which is what it returns.
 */
export const ReserveIoctl = { INSTALL: 0x3bf0, CANCEL: 0x3bf1, ASIDE: 0x3bf2 } as const;

/** Where it hands descriptors out. */
export const window = { first: 960, end: 968 };
