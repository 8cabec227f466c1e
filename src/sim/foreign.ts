/** Files of other tools that people hand to `iopf compare`, by what they begin with. */

/** How much of a file `foreignKind` wants to see, in bytes. */
export const BEGINNING_BYTES = 1 << 16;

const magics: readonly (readonly [bytes: string, what: string])[] = [
  ['\x17\x08\x44tracing', 'a trace.dat of trace-cmd'],
  ['PERFILE2', 'a perf.data'],
  ['\x1f\x8b', 'a file compressed with gzip'],
  ['\x28\xb5\x2f\xfd', 'a file compressed with zstd'],
  ['\xfd7zXZ\0', 'a file compressed with xz'],
  ['BZh', 'a file compressed with bzip2'],
  ['PK\x03\x04', 'a zip archive'],
  ['\x7fELF', 'an ELF file'],
  ['QFI\xfb', 'a qcow2 disk'],
  ['\xd4\xc3\xb2\xa1', 'a capture of packets'],
  ['\xa1\xb2\xc3\xd4', 'a capture of packets'],
  ['\x0a\x0d\x0d\x0a', 'a capture of packets'],
];

const texts: readonly (readonly [line: RegExp, what: string])[] = [
  [/^fio version \d+ iolog/, 'an I/O log of fio'],
  [/^(cpus=\d+|CPU \d+ is empty|# tracer: )/, 'text of ftrace or trace-cmd'],
  [
    /^\s*\S.*-\d+\s+(\(\s*[-\d]+\)\s+)?\[\d+\]\s+(\S{4,5}\s+)?\d+\.\d+: /,
    'text of ftrace or trace-cmd',
  ],
  [/^\s*\S.*\s+\d+(\/\d+)?\s+\[\d+\]\s+\d+\.\d+:/, 'text of perf script'],
  [/^(map|unmap|dev_fault|dev_page_response): IOMMU:/, 'an older kernel trace of iopf'],
  [/^\s*\d+,\d+\s+\d+\s+\d+\s+\d+\.\d+\s+\d+\s+[A-Z]+\s/, 'text of blktrace'],
  [/^\d+(\.\d+)? \S*(ioctl|openat|mmap|pread64)\(/, 'text of strace'],
  [/^(ioctl|openat|execve|mmap|pread64)\(/, 'text of strace'],
  [/^\d{10,},[^,]*,\d+,(Read|Write),\d+,\d+,\d+\s*$/, 'a block trace in CSV (MSR Cambridge)'],
  [/^[^:,{}[\]]+(,[^:,{}[\]]*){3,}$/, 'CSV'],
  [/^\s*<(!doctype|html|\?xml)/i, 'HTML or XML'],
];

/** Keys of a scenario at the left, or any YAML key in the first line: meant to be one. */
const scenarioKey = /^["']?(about|model|policies|workload|published)["']?\s*:/m;
const anyKey = /^(\s*(#.*)?\n|---\s*\n)*[A-Za-z]\w*\s*:(\s|$)/;

/**
 * What a file is that is neither a scenario nor a recording, in words; null: it may be a scenario.
 */
export function foreignKind(beginning: Buffer): string | null {
  if (beginning.length === 0) return 'empty';
  const bytes = beginning.toString('latin1');
  for (const [magic, what] of magics) if (bytes.startsWith(magic)) return what;
  // struct blk_io_trace: magic and version.
  if (bytes.startsWith('aet', 1) && beginning[0] === 7) return 'binary data of blktrace';
  if (bytes.includes('\0')) return 'binary data';
  if (scenarioKey.test(bytes)) return null;
  const lines = bytes.split('\n', 40).filter((line) => line.trim() !== '');
  for (const line of lines) for (const [form, what] of texts) if (form.test(line)) return what;
  const first = bytes.trimStart()[0];
  if (first === '{' || first === '[') return jsonKind(bytes);
  return anyKey.test(bytes) ? null : 'text of another kind';
}

/** JSON is YAML, and so may be a scenario. */
function jsonKind(text: string): string | null {
  if (/"traceEvents"|"ph"\s*:/.test(text)) return 'a trace in JSON (Chrome, Perfetto)';
  if (/^\s*\{\s*"runs"\s*:/.test(text)) return 'a result of iopf compare';
  if (/"faultLatencyUs"/.test(text)) return 'a summary of iopf exec';
  return /"workload"\s*:/.test(text) ? null : 'JSON of another kind';
}
