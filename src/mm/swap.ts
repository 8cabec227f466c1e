/** The pages of a process that are in swap. */
import { PageSet } from './page-set.js';
import { type PageContent, ZEROS } from './simulated-memory.js';

/** Pages of zeros take a bit each: runs in virtual time have nothing else, and millions of them. */
export class Swap {
  private readonly pages = new PageSet();
  /** Of those that are not zeros. */
  private readonly contents = new Map<number, PageContent>();

  has(page: number): boolean {
    return this.pages.size !== 0 && this.pages.has(page);
  }

  /** Null: it is not in swap. */
  contentOf(page: number): PageContent | null {
    if (!this.has(page)) return null;
    return this.contents.size === 0 ? ZEROS : (this.contents.get(page) ?? ZEROS);
  }

  put(page: number, content: PageContent): void {
    this.pages.add(page);
    if (content.byte !== 0 || content.data !== null) this.contents.set(page, content);
    else if (this.contents.size !== 0) this.contents.delete(page);
  }

  delete(page: number): void {
    if (this.pages.size === 0 || !this.pages.delete(page)) return;
    if (this.contents.size !== 0) this.contents.delete(page);
  }

  deleteRange(first: number, end: number): void {
    if (this.pages.deleteRange(first, end - first) === 0) return;
    for (const page of [...this.contents.keys()])
      if (page >= first && page < end) this.contents.delete(page);
  }

  /** Those of [first, end), in order. */
  entriesOf(first: number, end: number): [page: number, content: PageContent][] {
    return this.pages.pagesOf(first, end).map((page) => [page, this.contentOf(page)!]);
  }
}
