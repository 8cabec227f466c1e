import type { Command } from 'commander';

/** The commands, one file each, in the order of the help. */
export const commandLoaders: Readonly<Record<string, () => Promise<Command>>> = {
  exec: async () => (await import('./exec.js')).execCommand(),
  serve: async () => (await import('./serve.js')).serveCommand(),
  check: async () => (await import('./check.js')).checkCommand(),
  compare: async () => (await import('./compare.js')).compareCommand(),
  plan: async () => (await import('./plan.js')).planCommand(),
  worker: async () => (await import('./worker.js')).workerCommand(),
  import: async () => (await import('./import.js')).importCommand(),
  conformance: async () => (await import('./conformance.js')).conformanceCommand(),
  trace: async () => (await import('./trace.js')).traceCommand(),
  example: async () => (await import('./example.js')).exampleCommand(loadCommands),
};

/** The commands of these names, or all. */
export function loadCommands(names: readonly string[] | null = null): Promise<readonly Command[]> {
  return Promise.all((names ?? Object.keys(commandLoaders)).map((name) => commandLoaders[name]!()));
}
