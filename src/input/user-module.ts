/** Modules that users write, in TypeScript or JavaScript. */
import { packageFile } from './package-file.js';

/**
 * What a module exports. TypeScript is run without a look at its types, as Node 20 cannot run it.
 * `own`: what its imports of entry points of iopf find, by name.
 */
export async function loadUserModule(
  file: string,
  own: Readonly<Record<string, unknown>>,
): Promise<Record<string, unknown>> {
  const { createJiti } = await import('jiti');
  const options = { fsCache: false, virtualModules: { ...own } };
  try {
    return await createJiti(packageFile('package.json'), options).import(file);
  } catch (error) {
    throw withoutRequireStack(error);
  }
}

/** Node names what required a missing module; of a user's, that is what the message begins with. */
export function withoutRequireStack(error: unknown): unknown {
  if (error instanceof Error) error.message = error.message.replace(/\nRequire stack:.*$/s, '');
  return error;
}

/** The file of a package that is installed for `folder`; null: there is none. */
export async function resolvePackage(name: string, folder: string): Promise<string | null> {
  const { createJiti } = await import('jiti');
  return createJiti(`${folder}/package.json`).esmResolve(name, { try: true }) ?? null;
}
