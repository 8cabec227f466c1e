/** The layers of docs/architecture.md: imports point down only. */
const rooms = {
  abi: [],
  flow: [],
  input: [],
  mm: ['abi', 'flow'],
  iommu: ['abi', 'flow', 'mm'],
  file: ['abi', 'mm'],
  ioas: ['abi', 'flow', 'mm', 'iommu'],
  vfio: ['abi', 'flow', 'mm', 'iommu', 'file', 'ioas'],
  device: ['abi', 'flow', 'input', 'mm', 'iommu', 'vfio'],
  live: [],
  trace: ['abi', 'flow', 'input', 'mm', 'iommu', 'live'],
  exec: ['abi', 'flow', 'input', 'mm', 'iommu', 'file', 'ioas', 'vfio', 'device', 'live', 'trace'],
  sim: ['abi', 'flow', 'input', 'mm', 'iommu', 'file', 'ioas', 'vfio', 'device', 'trace'],
  check: ['abi', 'flow', 'mm', 'iommu', 'file', 'ioas', 'vfio', 'device'],
  report: ['abi', 'input', 'live', 'trace', 'sim', 'check'],
  ui: ['input', 'live', 'trace'],
  page: ['input', 'live', 'trace', 'report'],
  cli: [
    'abi',
    'flow',
    'input',
    'mm',
    'iommu',
    'file',
    'ioas',
    'vfio',
    'device',
    'live',
    'trace',
    'exec',
    'sim',
    'check',
    'report',
    'ui',
  ],
};

/** libc, the clock, files and the environment belong to the live run: not below the doors. */
const outside = '^(node:|koffi|fs$|os$|child_process$)';

module.exports = {
  forbidden: [
    ...Object.entries(rooms).map(([room, below]) => ({
      name: `${room} imports only what lies below it`,
      severity: 'error',
      from: { path: `^src/${room}/` },
      to: { path: '^src/', pathNot: `^src/(${[room, ...below].join('|')})/` },
    })),
    {
      name: 'every room is known',
      severity: 'error',
      from: { path: '^src/', pathNot: `^src/(${Object.keys(rooms).join('|')})/` },
      to: {},
    },
    {
      name: 'no libc, clock, file or environment below the doors',
      severity: 'error',
      from: {
        path: '^src/(abi|flow|mm|iommu|file|ioas|vfio|device)/',
        pathNot: '^src/mm/process/',
      },
      to: { path: outside },
    },
    {
      name: 'live processes are reached from exec only',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(exec|mm/process)/' },
      to: { path: '^src/mm/process/' },
    },
    {
      name: 'devices see types of vfio only',
      severity: 'error',
      from: { path: '^src/device/' },
      to: { path: '^src/vfio/', dependencyTypesNot: ['type-only'] },
    },
    {
      name: "devices, reports and the page read and write sizes: nothing of users' files",
      severity: 'error',
      from: { path: '^src/(device|report|page)/' },
      to: { path: '^src/input/', pathNot: '^src/input/(size|package-file).ts$' },
    },
    {
      name: 'reports see types only',
      severity: 'error',
      from: { path: '^src/report/' },
      to: { path: '^src/(trace|sim|check)/', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'the page runs in a browser: it sees types, and how a page is written',
      severity: 'error',
      from: { path: '^src/page/' },
      to: {
        path: '^src/(live|trace|report)/',
        pathNot: '^src/report/page-document.ts$',
        dependencyTypesNot: ['type-only'],
      },
    },
    {
      name: 'nothing imports the page: it is bundled',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/page/' },
      to: { path: '^src/page/' },
    },
    {
      name: 'no circles',
      severity: 'error',
      from: { path: '^src/' },
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: { extensions: ['.ts', '.js'] },
  },
};
