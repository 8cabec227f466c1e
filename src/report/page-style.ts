/** How a report looks: light and dark, on a phone, printed. */
export const pageStyle = `
:root { color-scheme: light dark; --ink: #1b1f24; --dim: #626b76; --line: #d5dae0; --back: #fff; --panel: #f6f8fa; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --dim: #9aa4af; --line: #3a424b; --back: #14181d; --panel: #1c2229; } }
body { margin: 0 auto; padding: 1rem; max-width: 72rem; font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--back); }
h1 { font-size: 1.4rem; } h2 { font-size: 1.15rem; margin-top: 2rem; } h3 { font-size: 0.95rem; margin: 1.2rem 0 0.3rem; color: var(--dim); font-weight: 600; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: 0.25rem 0.6rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; }
th { color: var(--dim); font-weight: 600; }
svg { display: block; width: 100%; min-width: 40rem; height: auto; background: var(--panel); }
svg text { fill: var(--dim); font: 11px system-ui, sans-serif; }
.grid { stroke: var(--line); } .cursor { stroke: var(--dim); stroke-dasharray: 3 3; }
.legend { display: flex; flex-wrap: wrap; gap: 0.2rem 1rem; color: var(--dim); font-size: 0.85rem; margin: 0.3rem 0; }
.legend i { display: inline-block; width: 0.8em; height: 0.8em; margin-right: 0.35em; border-radius: 2px; }
#tip { position: fixed; pointer-events: none; z-index: 1; padding: 0.35rem 0.55rem; font-size: 0.85rem; white-space: pre; background: var(--back); border: 1px solid var(--line); border-radius: 4px; }
@media print { body { max-width: none; font-size: 11px; } select { display: none; } section { break-inside: avoid; } .scroll { overflow: visible; } svg { min-width: 0; } }
`;
