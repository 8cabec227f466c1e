/**
 * When things are drawn: what changed, and can be seen, twice a second, on a machine of two
 * processors once; a hidden tab draws nothing. What a person does is drawn at once. More often
 * would cost the run, which is on the same machine, more than it shows: chromium without a GPU
 * takes some 15 ms of CPU for each picture.
 */

export const DRAW_EVERY_MS = navigator.hardwareConcurrency > 2 ? 500 : 1000;

interface Part {
  readonly draw: () => void;
  visible: boolean;
  dirty: boolean;
}

const parts = new Map<Element, Part>();
let last = Number.NEGATIVE_INFINITY;
let timer: ReturnType<typeof setTimeout> | null = null;
let frame = false;
let paused = false;

const watcher = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      const part = parts.get(target);
      if (part === undefined) continue;
      part.visible = isIntersecting;
      if (isIntersecting && part.dirty) paintNow();
    }
  },
  { rootMargin: '64px' },
);

/** `draw` draws what `root` holds. Returns what says that it has changed. */
export function drawn(root: Element, draw: () => void): () => void {
  const part: Part = { draw, visible: false, dirty: true };
  parts.set(root, part);
  watcher.observe(root);
  return () => {
    part.dirty = true;
    paintSoon();
  };
}

export function forget(root: Element): void {
  watcher.unobserve(root);
  parts.delete(root);
}

export function isPaused(): boolean {
  return paused;
}

/** Paused, only what a person does is drawn; behind it everything goes on. */
export function setPaused(isToPause: boolean): void {
  if (paused === isToPause) return;
  paused = isToPause;
  paintNow();
}

/** Draws what is dirty and seen at the next frame. */
export function paintNow(): void {
  if (frame || document.hidden) return;
  frame = true;
  requestAnimationFrame(() => {
    frame = false;
    paint(false);
  });
}

/** Draws everything, seen or not: for paper. */
export function paintAll(): void {
  for (const part of parts.values()) part.dirty = true;
  paint(true);
}

function paintSoon(): void {
  if (timer !== null || document.hidden || paused) return;
  timer = setTimeout(
    () => {
      timer = null;
      paintNow();
    },
    Math.max(0, last + DRAW_EVERY_MS - performance.now()),
  );
}

function paint(all: boolean): void {
  last = performance.now();
  for (const part of parts.values()) {
    if (!part.dirty || !(part.visible || all)) continue;
    part.dirty = false;
    part.draw();
  }
}

document.addEventListener('visibilitychange', () => paintNow());
