/** Ioctls of the file that test/exec/programs/reserving-engine.ts serves: _IO(';', N). */
export const ReserveIoctl = { INSTALL: 0x3bf0, CANCEL: 0x3bf1 } as const;

/** Where it hands descriptors out. */
export const window = { first: 960, end: 968 };
