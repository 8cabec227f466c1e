/**
 * What decides is not all in a state, or a step accessed more than was noted: what the search says
 * about the scenario cannot be relied on. A mistake of the checker, a scenario, operation or
 * variant that keeps something where nobody looks.
 */
export class Unsound extends Error {
  override readonly name = 'Unsound';
}
