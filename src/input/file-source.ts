/** Where files come from that users name: this host, or those that came with a job. */
import { type NamedFile, readBeginning, readNamed } from './named-file.js';
import { UserError } from './user-error.js';

export interface FileSource {
  /** Up to `most` bytes from the beginning. Throws UserError. */
  beginning(file: NamedFile, most: number): Buffer;
  /** A whole file of at most `most` bytes. Throws UserError. */
  read(file: NamedFile, most: number): Buffer;
}

export const hostFiles: FileSource = { beginning: readBeginning, read: readNamed };

/** Files that stand for others, by the names of those; there are no others. */
export function filesStandingFor(places: Readonly<Record<string, string>>): FileSource {
  const instead = (file: NamedFile, read: (file: NamedFile) => Buffer): Buffer => {
    if (!Object.hasOwn(places, file.path))
      throw new UserError(`cannot read ${file.what} ${file.path}: it did not come with the job`);
    const place = places[file.path]!;
    try {
      return read({ ...file, path: place });
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      throw new UserError(error.message.replaceAll(place, file.path));
    }
  };
  return {
    beginning: (file, most) => instead(file, (at) => readBeginning(at, most)),
    read: (file, most) => instead(file, (at) => readNamed(at, most)),
  };
}
