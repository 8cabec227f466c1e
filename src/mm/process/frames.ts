/** Pages per space in the frame numbers: more than any `taskSize` has. */
export const FRAMES_PER_SPACE = 2 ** 40;
