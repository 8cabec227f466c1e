/** What is compared: a scenario or a recording, from a file. */
import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { type FileSource, hostFiles } from '../input/file-source.js';
import { TEXT_MOST_BYTES } from '../input/named-file.js';
import { packageFile } from '../input/package-file.js';
import { UserError } from '../input/user-error.js';
import { isRecording, parseRecording, type Recording } from '../trace/recording.js';
import { RECORDING_MOST_BYTES } from '../trace/recording-format.js';
import { type CostModel, parseCostModel, publishedCostsOf } from './cost-model.js';
import { BEGINNING_BYTES, foreignKind } from './foreign.js';
import { defaultPolicies } from './policy.js';
import type { CostComparison } from './published-costs.js';
import { policyOf } from './replay.js';
import { parseScenario, type Scenario } from './scenario.js';

const shippedModels = ['kunpeng920-stall', 'odp', 'fast', 'measured', 'vtd-6252'];

/** The path of a file, or a text with the name that results and errors have for it. */
export type Source = string | { readonly name: string; readonly text: string };

export function nameOf(source: Source): string {
  return typeof source === 'string' ? source : source.name;
}

/** What names of files in a source are relative to. */
export function folderOf(source: Source): string {
  return typeof source === 'string' ? dirname(source) : '.';
}

export interface ScenarioInput {
  readonly kind: 'scenario';
  readonly path: string;
  readonly scenario: Scenario;
}

export interface RecordingInput {
  readonly kind: 'recording';
  readonly path: string;
  readonly recording: Recording;
}

export type Input = ScenarioInput | RecordingInput;

const RECORDING_MODEL = 'measured';

/** Throws UserError. */
export function readInput(source: Source, files: FileSource = hostFiles): Input {
  if (typeof source !== 'string') {
    const { name, text } = source;
    return { kind: 'scenario', path: name, scenario: parseScenario(text, name) };
  }
  const path = source;
  const file = { what: 'the input', path };
  const beginning = files.beginning(file, BEGINNING_BYTES);
  if (isRecording(beginning)) {
    const bytes = files.read({ what: 'a recording', path }, RECORDING_MOST_BYTES);
    return { kind: 'recording', path, recording: parseRecording(bytes, path) };
  }
  const foreign = foreignKind(beginning);
  if (foreign !== null)
    throw new UserError(
      `${path} is ${foreign}, neither a scenario (YAML with workload:, docs/compare.md) ` +
        'nor a recording (iopf exec --record, iopf import), which is what can be compared',
    );
  const text = files.read({ what: 'a scenario', path }, TEXT_MOST_BYTES).toString();
  return { kind: 'scenario', path, scenario: parseScenario(text, path) };
}

/** The model of an input where the command line names none. */
export function modelOf(input: Input): string {
  return input.kind === 'recording' ? RECORDING_MODEL : input.scenario.model;
}

/**
 * The policies of an input where the command line names none; a recording's own is always among
 * them.
 */
export function policiesOf(input: Input): readonly string[] {
  if (input.kind === 'scenario') return input.scenario.policies ?? defaultPolicies;
  const own = policyOf(input.recording).name;
  return defaultPolicies.includes(own) ? defaultPolicies : [...defaultPolicies, own];
}

/** Whether a model is in a file of its own. */
export function isModelFile(source: Source): source is string {
  return typeof source === 'string' && /[/.]/.test(source);
}

/** A model by the name of one that comes with iopf, or from a source. Throws UserError. */
export function readModel(source: Source, files: FileSource = hostFiles): CostModel {
  return parseCostModel(...modelText(source, files));
}

/** What was published about a model's costs, beside what it says itself. Throws UserError. */
export function publishedCosts(source: Source): CostComparison[] {
  return publishedCostsOf(...modelText(source, hostFiles));
}

function modelText(source: Source, files: FileSource): [text: string, name: string] {
  if (typeof source !== 'string') return [source.text, source.name];
  const name = source;
  if (!isModelFile(source)) {
    if (!shippedModels.includes(name))
      throw new UserError(
        `unknown model "${name}"; shipped: ${shippedModels.join(', ')}; or a file's path`,
      );
    return [readFileSync(packageFile(`models/${name}.yaml`), 'utf8'), `${name}.yaml`];
  }
  return [files.read({ what: 'the model', path: name }, TEXT_MOST_BYTES).toString(), name];
}
