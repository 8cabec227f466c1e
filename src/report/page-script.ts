/** What a report's page does: it draws, and tells the values of the point that is pointed at. Plain browser JavaScript. */
export const pageScript = String.raw`
'use strict';
const report = JSON.parse(document.getElementById('data').textContent);
const main = document.querySelector('main');
const tip = document.getElementById('tip');
const colours = ['#2f6fde', '#d9622b', '#2a9d63', '#a04bc9', '#c2362f', '#8a7a1c', '#1a93a8', '#7a7f87'];
const W = 900, H = 230, L = 70, R = 12, T = 12, B = 26;

function make(tag, attributes, parent, text) {
  const svg = ['svg', 'g', 'path', 'rect', 'line', 'text'].includes(tag);
  const node = svg ? document.createElementNS('http://www.w3.org/2000/svg', tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  if (parent) parent.append(node);
  return node;
}
function bytes(value) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (value >= 1024 && unit < 4) { value /= 1024; unit++; }
  return Number(value.toFixed(value < 10 ? 1 : 0)) + ' ' + units[unit];
}
function seconds(value) {
  if (value === 0) return '0';
  if (value < 1e-3) return (value * 1e6).toFixed(1) + ' µs';
  return value < 1 ? (value * 1e3).toFixed(2) + ' ms' : value.toFixed(2) + ' s';
}
function show(name, value) {
  if (value === null) return '–';
  if (typeof value === 'string') return value;
  if (/Bytes/.test(name)) return bytes(value);
  if (/Seconds$/.test(name)) return seconds(value);
  if (/Percent$/.test(name)) return value.toFixed(1) + ' %';
  return value.toLocaleString('en');
}
function title(name) {
  return name.replace(/(Bytes|Seconds|Percent)/, '').replace(/([A-Z])/g, ' $1').toLowerCase().trim();
}
function table(rows, parent) {
  const names = [];
  for (const row of rows) for (const name of Object.keys(row)) if (!names.includes(name)) names.push(name);
  const box = make('div', { class: 'scroll' }, parent);
  const node = make('table', {}, box);
  const head = make('tr', {}, make('thead', {}, node));
  for (const name of names) make('th', {}, head, title(name));
  const body = make('tbody', {}, node);
  for (const row of rows) {
    const line = make('tr', {}, body);
    for (const name of names) {
      const value = row[name] === undefined ? null : row[name];
      make('td', { 'data-field': name, 'data-value': JSON.stringify(value), title: String(value) }, line, show(name, value));
    }
  }
}
function tell(event, lines) {
  tip.hidden = false;
  tip.textContent = lines.join('\n');
  const box = tip.getBoundingClientRect();
  tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 4)) + 'px';
  tip.style.top = Math.max(4, Math.min(event.clientY + 14, innerHeight - box.height - 4)) + 'px';
}
function quiet() { tip.hidden = true; }
function legend(parent, entries) {
  const box = make('div', { class: 'legend' }, parent);
  for (const [name, colour] of entries) {
    const item = make('span', {}, box);
    make('i', { style: 'background:' + colour }, item);
    item.append(name);
  }
}
function frame(parent, height, most, unit, end) {
  const svg = make('svg', { viewBox: '0 0 ' + W + ' ' + height }, make('div', { class: 'scroll' }, parent));
  const y = (value) => height - B - (most === 0 ? 0 : (value / most) * (height - T - B));
  for (let part = 0; part <= 4; part++) {
    const value = (most * part) / 4;
    make('line', { class: 'grid', x1: L, x2: W - R, y1: y(value), y2: y(value) }, svg);
    make('text', { x: L - 6, y: y(value) + 4, 'text-anchor': 'end' }, svg, unit(value));
  }
  if (end !== undefined)
    for (let part = 0; part <= 4; part++)
      make('text', { x: L + ((W - L - R) * part) / 4, y: height - 8, 'text-anchor': part === 4 ? 'end' : 'middle' }, svg, seconds((end * part) / 4));
  return { svg, y };
}
/** Lines over time: one or more series for each run, and a pointer that tells the values of its moment. */
function chart(parent, name, runs, series, unit) {
  make('h3', {}, parent, name);
  const ends = runs.map((run) => { const t = run.timeline; return t.length === 0 ? 0 : t.length === 1 ? t[0].seconds : t[t.length - 1].seconds + t[1].seconds - t[0].seconds; });
  const end = Math.max(1e-9, ...ends);
  let most = 0;
  for (const run of runs) for (const one of series) for (let i = 0; i < run.timeline.length; i++) most = Math.max(most, one.of(run.timeline, i));
  const { svg, y } = frame(parent, H, most, unit, end);
  svg.dataset.chart = name;
  const x = (value) => L + (value / end) * (W - L - R);
  runs.forEach((run, index) => {
    for (const one of series) {
      let path = '';
      run.timeline.forEach((step, i) => { path += (i === 0 ? 'M' : 'L') + x(step.seconds).toFixed(1) + ' ' + y(one.of(run.timeline, i)).toFixed(1); });
      if (path !== '') make('path', { d: path, fill: 'none', stroke: colours[index % colours.length], 'stroke-width': 1.6, 'stroke-dasharray': one.dash || '' }, svg);
    }
  });
  legend(parent, runs.map((run, index) => [run.name, colours[index % colours.length]]));
  const cursor = make('line', { class: 'cursor', y1: T, y2: H - B, visibility: 'hidden' }, svg);
  svg.addEventListener('pointermove', (event) => {
    const box = svg.getBoundingClientRect();
    const at = Math.min(end, Math.max(0, (((event.clientX - box.left) / box.width) * W - L) / (W - L - R) * end));
    cursor.setAttribute('x1', x(at)); cursor.setAttribute('x2', x(at)); cursor.setAttribute('visibility', 'visible');
    const lines = [seconds(at)];
    runs.forEach((run) => {
      let i = run.timeline.length - 1;
      while (i > 0 && run.timeline[i].seconds > at) i--;
      if (i >= 0) lines.push(run.name + ': ' + series.map((one) => one.name + ' ' + unit(one.of(run.timeline, i))).join(', '));
    });
    tell(event, lines);
  });
  svg.addEventListener('pointerleave', () => { cursor.setAttribute('visibility', 'hidden'); quiet(); });
}
function histogram(parent, runs) {
  const buckets = Object.keys(runs[0] ? runs[0].latency : {});
  if (buckets.length === 0) return;
  make('h3', {}, parent, 'Fault latency (VT-d’s buckets)');
  const most = Math.max(0, ...runs.flatMap((run) => Object.values(run.latency)));
  const { svg, y } = frame(parent, H, most, (value) => Math.round(value).toLocaleString('en'));
  svg.dataset.chart = 'latency';
  const width = (W - L - R) / buckets.length;
  buckets.forEach((bucket, at) => {
    make('text', { x: L + width * (at + 0.5), y: H - 8, 'text-anchor': 'middle' }, svg, bucket);
    runs.forEach((run, index) => {
      const bar = (width * 0.8) / runs.length;
      const value = run.latency[bucket];
      const rect = make('rect', { x: L + width * (at + 0.1) + bar * index, y: y(value), width: Math.max(1, bar - 1), height: H - B - y(value), fill: colours[index % colours.length] }, svg);
      rect.addEventListener('pointermove', (event) => tell(event, [run.name, bucket + ': ' + value.toLocaleString('en') + ' faults']));
      rect.addEventListener('pointerleave', quiet);
    });
  });
  legend(parent, runs.map((run, index) => [run.name, colours[index % colours.length]]));
}
const kinds = [['taken', '#c2362f'], ['faulted', '#d9622b'], ['mapped', '#2a9d63'], ['touched', '#2f6fde']];
function addressMap(parent, runs) {
  const drawn = runs.filter((run) => run.map !== null && run.map.rows.length > 0);
  if (drawn.length === 0) return;
  make('h3', {}, parent, 'Addresses over time: touched, mapped, faulted, taken away');
  const choice = make('select', { 'aria-label': 'policy' }, parent);
  for (const run of drawn) make('option', {}, choice, run.name);
  const box = make('div', {}, parent);
  const draw = () => {
    box.textContent = '';
    const { map } = drawn[choice.selectedIndex];
    const steps = 1 + Math.max(...map.rows.flatMap((row) => row.cells.map((cell) => cell.step)));
    const rowHeight = Math.max(4, Math.min(14, 420 / map.rows.length));
    const height = rowHeight * map.rows.length + T + B;
    const svg = make('svg', { viewBox: '0 0 ' + W + ' ' + height, 'data-chart': 'addresses' }, make('div', { class: 'scroll' }, box));
    const left = L + 50, width = (W - left - R) / steps;
    map.rows.forEach((row, index) => {
      const top = T + index * rowHeight;
      if (index === 0 || index === map.rows.length - 1 || index % Math.ceil(16 / rowHeight) === 0)
        make('text', { x: left - 6, y: top + Math.min(rowHeight, 9), 'text-anchor': 'end' }, svg, '0x' + row.iova.toString(16));
      for (const cell of row.cells) {
        const kind = kinds.find(([name]) => cell[name] > 0);
        const share = Math.min(1, Math.max(cell.touched, cell.mapped, cell.taken) / (map.rowBytes / 4096));
        const rect = make('rect', { x: left + cell.step * width, y: top, width: Math.max(1, width), height: rowHeight - 0.5, fill: kind[1], 'fill-opacity': (0.35 + 0.65 * share).toFixed(2) }, svg);
        rect.addEventListener('pointermove', (event) => tell(event, [
          '[0x' + row.iova.toString(16) + ', 0x' + (row.iova + map.rowBytes).toString(16) + ') at ' + seconds(cell.step * map.stepSeconds),
          'touched ' + cell.touched + ', mapped ' + cell.mapped + ', faulted ' + cell.faulted + ', taken away ' + cell.taken + ' pages']));
        rect.addEventListener('pointerleave', quiet);
      }
    });
    for (let part = 0; part <= 4; part++)
      make('text', { x: left + ((W - left - R) * part) / 4, y: height - 8, 'text-anchor': part === 4 ? 'end' : 'middle' }, svg, seconds((steps * map.stepSeconds * part) / 4));
    legend(box, [...kinds].reverse());
  };
  choice.addEventListener('change', draw);
  draw();
}
for (const group of report.groups) {
  const section = make('section', {}, main);
  make('h2', {}, section, group.title);
  table(group.runs.map((run) => run.numbers), section);
  chart(section, 'Pages in I/O page tables; dashed: pinned', group.runs, [
    { name: 'resident', of: (t, i) => t[i].residentPages * 4096 },
    { name: 'pinned', of: (t, i) => t[i].pinnedPages * 4096, dash: '4 3' }], bytes);
  const perSecond = (name) => (t, i) => { const width = t.length > 1 ? t[1].seconds - t[0].seconds : 0; return width === 0 ? t[i][name] : t[i][name] / width; };
  const rate = (value) => Math.round(value).toLocaleString('en') + '/s';
  chart(section, 'Faults per second', group.runs, [{ name: 'faults', of: perSecond('faults') }], rate);
  if (group.runs.some((run) => run.timeline.some((step) => step.reclaimed > 0)))
    chart(section, 'Pages reclaimed per second', group.runs, [{ name: 'reclaimed', of: perSecond('reclaimed') }], rate);
  histogram(section, group.runs);
  addressMap(section, group.runs);
}
for (const one of report.tables) {
  const section = make('section', {}, main);
  make('h2', {}, section, one.title);
  table(one.rows, section);
}
`;
