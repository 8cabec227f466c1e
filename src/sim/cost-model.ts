/** What things cost: files with a unit and a source for every number. */
import { z } from 'zod';
import { duration, formatKey } from '../input/schemas.js';
import { parseUserFile } from '../input/user-file.js';
import { besideModel, type CostComparison, costMistake, publishedCost } from './published-costs.js';

const cost = z.strictObject({ time: duration, source: z.string().min(1) });

const costs = z.strictObject({
  request: cost.describe('device to IOMMU to page request queue'),
  handle: cost.describe('queue to handler: interrupt, thread, look-up'),
  pageIn: cost.describe('the page that faulted, where it is in memory'),
  map: cost.describe('its entry in the I/O page table'),
  respond: cost.describe('response to the device, which tries again'),
  extraPage: cost.describe('each further page of a window: page-in and entry'),
  swapIn: cost.describe('each page that is brought back from swap'),
  invalidate: cost.describe('an event that takes mapped pages away: unmap and IOTLB flush'),
  iotlbMiss: cost.describe('an access that walks the I/O page table'),
  pinPage: cost.describe('each page that static pinning pins while the program runs'),
  advise: cost.describe('a call that tells pages ahead; the pages cost extraPage each'),
});

export const modelSchema = z.strictObject({
  schema: formatKey('model'),
  name: z.string(),
  about: z.string(),
  costs,
  /** What was published about these costs. */
  published: z.array(publishedCost).max(100).optional(),
});

/** All in microseconds; what each is: the schema above, docs/models.md. */
export type Costs = Readonly<Record<keyof z.output<typeof costs>, number>>;

export interface CostModel {
  readonly name: string;
  readonly about: string;
  readonly costs: Costs;
}

/** Microseconds of a page request that brings in `pages`, `swapped` of them from swap. */
export function faultUs(costs: Costs, pages: number, swapped: number): number {
  const { extraPage, handle, map, pageIn, request, respond, swapIn } = costs;
  const more = Math.max(0, pages - 1) * extraPage;
  return request + handle + pageIn + map + respond + more + swapped * swapIn;
}

/** Parses a model file; `file` is how errors call it. Throws UserError. */
export function parseCostModel(text: string, file: string): CostModel {
  const { about, costs, name } = parsed(text, file);
  return { name, about, costs };
}

/** What its author published beside what the model says. Throws UserError. */
export function publishedCostsOf(text: string, file: string): CostComparison[] {
  const { costs, name, published } = parsed(text, file);
  return published.map((each) => besideModel(name, costs, each));
}

function parsed(text: string, file: string) {
  const { data, error } = parseUserFile(text, file, modelSchema);
  const { about, name, published = [] } = data;
  const entries = Object.entries(data.costs).map(([cost, { time }]) => [cost, time]);
  const costs = Object.fromEntries(entries) as Costs;
  for (const [index, each] of published.entries()) {
    const mistake = costMistake(each, costs);
    if (mistake !== null) throw error(['published', String(index)], mistake);
  }
  return { about, name, costs, published };
}
