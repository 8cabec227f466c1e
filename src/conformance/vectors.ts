/**
 * The recorded answers of real kernels (test/vectors/README.md), and what a step expects of one
 * kernel.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { KernelVersion } from '../abi/kernel.js';

/** `notest`: without the interface that only iommufd's own tests need. */
export type RecordedKernel = KernelVersion | '6.12-notest' | '7.2-notest';

export interface VectorFile {
  readonly topic: string;
  readonly boot: string;
  readonly machine: {
    readonly vars: Readonly<Record<string, string>>;
    readonly argBuffersEndAt: string;
  };
  readonly geometry: VectorGeometry | null;
  /** Kernels other than the first that were recorded, where there are any. */
  readonly otherKernels?: unknown;
  /** What of the answers belongs to the recorded devices, in a sentence. */
  readonly deviceSpecific?: unknown;
  readonly cases: readonly VectorCase[];
}

export interface VectorGeometry {
  readonly iommu: string;
  /** First and last address of each range. */
  readonly iovaRanges: readonly (readonly [string, string])[];
}

export interface VectorCase {
  readonly name: string;
  readonly why: string;
  readonly setup: {
    readonly memory: readonly VectorMemory[];
    /** Bytes; null: 8 MiB. */
    readonly rlimitMemlock: number | null;
    readonly capIpcLock: boolean;
    readonly dmaEntryLimit?: number;
    readonly moduleParams?: Readonly<Record<string, string>>;
  };
  readonly steps: readonly VectorStep[];
}

export interface VectorMemory {
  readonly name: string;
  readonly addr: string;
  readonly size: number;
  readonly prot: string;
  readonly kind: string;
  readonly fill?: number;
  /** The file of another entry that it maps (`_mNAME`), and from which byte on. */
  readonly fd?: string;
  readonly offset?: string | number;
  /** What else was done to it before the steps. */
  readonly note?: string;
}

export type VectorArgument =
  | number
  | {
      readonly ptr?: string;
      readonly str?: string;
      readonly in?: string;
      /** Where descriptors' numbers stand, and where the call puts new ones. */
      readonly fdAt?: readonly (readonly [number, string])[];
      readonly fdOut?: readonly (readonly [number, string])[];
    };

/** Bytes that may hold arguments, and read and write buffers, up to where no memory is. */
export const ARGUMENT_BYTES = 0x4000;
/** RLIMIT_MEMLOCK of a case that names none. */
export const DEFAULT_LIMIT_BYTES = 8 << 20;
/** What a descriptor's number reads as in a recording. */
export const DESCRIPTOR_BYTES = 'fdfdfdfd';

/** What an operation answers when it succeeds. */
export interface Success {
  readonly ret?: number;
  readonly out?: string;
  readonly outText?: string;
}

/** What a step answers. */
export interface Answer {
  readonly ret: number;
  readonly errno: string | null;
  readonly out?: string;
  readonly outText?: string;
  readonly vmPinKb: number;
  readonly vmLckKb: number;
}

export interface VectorStep extends Answer {
  readonly op: string;
  readonly fd?: string;
  readonly as?: string;
  readonly proc?: string;
  readonly target?: string;
  readonly path?: string;
  readonly value?: string;
  readonly flags?: number;
  readonly nr?: number;
  readonly cmd?: string;
  readonly cmdNr?: number;
  readonly arg?: VectorArgument;
  readonly addr?: string;
  readonly size?: number;
  readonly offset?: string | number;
  readonly prot?: string;
  readonly kind?: string;
  readonly in?: string;
  readonly byte?: number;
  readonly mem?: string;
  readonly advice?: string;
  readonly adviceNr?: number;
  readonly whence?: number;
  readonly oldSize?: number;
  readonly newSize?: number;
  readonly newAddr?: string;
  readonly bytes?: number;
  readonly srcIova?: string;
  readonly dstIova?: string;
  readonly mode?: number;
  readonly seals?: number;
  readonly cap?: string;
  readonly otherKernels?: Readonly<Partial<Record<RecordedKernel, Partial<Answer>>>>;
}

const IOMMU_TEST_CMD = 0x3ba0;

/** Whether a case needs the interface of iommufd's own tests. */
export function usesTestInterface({ steps }: VectorCase): boolean {
  return steps.some(({ nr }) => nr === IOMMU_TEST_CMD);
}

const FILE_NAME = /\.json(\.gz)?$/;

/** The vector files that a path means: itself, or those in it. */
export function vectorFiles(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path)
    .filter((name) => FILE_NAME.test(name))
    .sort()
    .map((name) => join(path, name));
}

/** `map-dma` of `map-dma.json.gz`. */
export function topicOf(path: string): string {
  return basename(path).replace(FILE_NAME, '');
}

/** Reads a file; numbers beyond 2^53 are rounded, as no argument that counts is one. */
export function readVectors(path: string): VectorFile {
  const bytes = readFileSync(path);
  const text = path.endsWith('.gz') ? gunzipSync(bytes) : bytes;
  return JSON.parse(text.toString('utf8')) as VectorFile;
}

/** Which cases are run, by name. */
export type CaseFilter = (name: string) => boolean;
export const everyCase: CaseFilter = () => true;

/**
 * What the kernel answered: the recording, with what was different there. `isTest`: the kernel has
 * iommufd's test interface.
 */
export function expected(step: VectorStep, kernel: KernelVersion, isTest = false): Answer {
  const { ret, errno, vmPinKb, vmLckKb } = step;
  const answer = {
    ret,
    errno,
    vmPinKb,
    vmLckKb,
    ...(step.out === undefined ? {} : { out: step.out }),
    ...(step.outText === undefined ? {} : { outText: step.outText }),
  };
  const plain = kernel === '6.1' || isTest ? {} : step.otherKernels?.[`${kernel}-notest`];
  return { ...answer, ...step.otherKernels?.[kernel], ...plain };
}

/** A step whose answer differs, with the parts that do. */
export interface Difference {
  readonly step: number;
  readonly asked: VectorStep;
  readonly expected: Partial<Answer>;
  readonly came: Partial<Answer>;
}

/** What differs between the answer that was wanted and the one that came; null: nothing. */
export function differenceOf(
  index: number,
  asked: VectorStep,
  wanted: Answer,
  came: Partial<Answer>,
): Difference | null {
  const keys = (Object.keys(wanted) as (keyof Answer)[]).filter((key) => came[key] !== wanted[key]);
  if (keys.length === 0) return null;
  const pick = (answer: Partial<Answer>): Partial<Answer> =>
    Object.fromEntries(keys.map((key) => [key, answer[key]]));
  return { step: index, asked, expected: pick(wanted), came: pick(came) };
}

/** Puts a machine's group numbers and PCI addresses in for their names in braces. */
export function fillNames(text: string, vars: Readonly<Record<string, string>>): string {
  return text.replace(/\{(\w+)\}/g, (_, name: string) => vars[name] ?? name);
}

export function hexBytes(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex, 'hex'));
}

export function bytesHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
}
