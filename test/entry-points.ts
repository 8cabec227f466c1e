/** Examples that users are shown, as files: at the head of each entry point, and in docs. */
import { readFileSync } from 'node:fs';

/** `iopf/check` → the file that its head is in. */
export const entryPoints: Readonly<Record<string, string>> = {
  check: 'src/check/api/index.ts',
  compare: 'src/sim/api/index.ts',
  device: 'src/kit/index.ts',
  engine: 'src/engine/index.ts',
  exec: 'src/exec/api/run-exec.ts',
  recording: 'src/trace/api/index.ts',
};

/** The example at the head of an entry point. */
export function headExample(name: string): string {
  const [head] = /^\/\*\*[\s\S]*?\*\/\n/.exec(readFileSync(entryPoints[name]!, 'utf8'))!;
  const text = head.replaceAll(/^ \* ?/gm, '');
  return /```ts\n([\s\S]*?)```/.exec(text)![1]!;
}

/** The TypeScript of docs, by document and place in it: `check-0`. */
export function documentExamples(documents: readonly string[]): Record<string, string> {
  const found = documents.flatMap((name) => {
    const text = readFileSync(`docs/${name}.md`, 'utf8');
    return [...text.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map(
      ([, example], index) => [`${name}-${index}`, example!] as const,
    );
  });
  return Object.fromEntries(found);
}
