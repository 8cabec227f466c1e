/** Of runs that the style sheet has no colour for: hues a golden angle apart never meet again. */
export function furtherColour(index: number, dark: boolean): string {
  return `hsl(${((index * 137.508) % 360).toFixed(1)} 62% ${dark ? 68 : 38}%)`;
}
