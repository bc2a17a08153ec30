/** Small SVG plots, written by hand: no dependency, readable on light and dark pages. */

/** Floor, Caisson, crun, lxc, runc, all others. Plain classes, no CSS variables: librsvg knows none. */
const LIGHT = ['#64748b', '#2563eb', '#c2410c', '#7c3aed', '#15803d', '#94a3b8'];
const DARK = ['#94a3b8', '#60a5fa', '#fb923c', '#c4b5fd', '#4ade80', '#64748b'];

function palette(colors: readonly string[]): string {
  return colors.map((color, index) => `.f${index} { fill: ${color}; } .s${index} { stroke: ${color}; }`).join(' ');
}

const STYLE = `
  text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #374151; }
  .title { font-size: 14px; font-weight: 600; fill: #111827; }
  .faint { fill: #6b7280; font-size: 11px; }
  .grid { stroke: #e5e7eb; stroke-width: 1; }
  .axis { stroke: #9ca3af; stroke-width: 1; }
  .range { stroke-width: 6; stroke-linecap: round; opacity: .35; }
  .line { fill: none; stroke-width: 1.6; }
  .pale { opacity: .45; }
  .label { font-weight: 600; }
  ${palette(LIGHT)}
  @media (prefers-color-scheme: dark) {
    text { fill: #d1d5db; } .title { fill: #f3f4f6; } .faint { fill: #9ca3af; } .grid { stroke: #374151; } .axis { stroke: #6b7280; }
    ${palette(DARK)}
  }`;

const WIDTH = 760;
const LEFT = 130;
const RIGHT = 90;

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function text(x: number, y: number, content: string, style = '', anchor = 'start'): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}"${style === '' ? '' : ` class="${style}"`}>${escaped(content)}</text>`;
}

function line(style: string, x1: number, y1: number, x2: number, y2: number): string {
  return `<line class="${style}" x1="${x1.toFixed(1)}" y1="${y1.toFixed(1)}" x2="${x2.toFixed(1)}" y2="${y2.toFixed(1)}"/>`;
}

function document(height: number, title: string, content: readonly string[]): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${escaped(title)}">
<style>${STYLE}
</style>
${text(16, 24, title, 'title')}
${content.join('\n')}
</svg>
`;
}

/** 1, 2, 5, 10, … that lie in the range. */
function logTicks(low: number, high: number): number[] {
  const ticks: number[] = [];
  for (let power = 10 ** Math.floor(Math.log10(low)); power <= high; power *= 10) {
    for (const factor of [1, 2, 5]) if (factor * power >= low && factor * power <= high) ticks.push(factor * power);
  }
  return ticks;
}

function short(value: number): string {
  return String(Number(value.toPrecision(3)));
}

export interface RangeRow {
  readonly label: string;
  readonly color: number;
  readonly low: number;
  readonly middle: number;
  readonly high: number;
}

/** Panels of rows with a median dot on a p10–p90 bar, on one logarithmic axis. */
export function rangePlot(
  title: string,
  unit: string,
  panels: readonly { readonly name: string; readonly rows: readonly RangeRow[] }[],
): string {
  const all = panels.flatMap(({ rows }) => rows);
  const low = Math.min(...all.map(row => row.low)) / 1.3;
  const high = Math.max(...all.map(row => row.high)) * 1.15;
  const x = (value: number): number => LEFT + (Math.log(value / low) / Math.log(high / low)) * (WIDTH - LEFT - RIGHT);
  const content: string[] = [];
  let y = 46;
  for (const { name, rows } of panels) {
    content.push(text(16, y + 4, name, 'faint'));
    const top = y + 14;
    const bottom = top + rows.length * 24;
    for (const tick of logTicks(low, high)) {
      content.push(
        line('grid', x(tick), top, x(tick), bottom),
        text(x(tick), bottom + 14, short(tick), 'faint', 'middle'),
      );
    }
    for (const [index, row] of rows.entries()) {
      const middle = top + index * 24 + 12;
      content.push(
        text(LEFT - 12, middle + 4, row.label, row.color === 1 ? 'f1 label' : '', 'end'),
        line(`s${row.color} range`, x(row.low), middle, x(row.high), middle),
        `<circle class="f${row.color}" cx="${x(row.middle).toFixed(1)}" cy="${middle}" r="5"/>`,
        text(x(row.high) + 12, middle + 4, short(row.middle)),
      );
    }
    y = bottom + 34;
  }
  content.push(
    text(WIDTH - 16, y - 8, `${unit}, logarithmic; dot: median, bar: 10th to 90th percentile`, 'faint', 'end'),
  );
  return document(y + 6, title, content);
}

export interface BarRow {
  readonly label: string;
  readonly color: number;
  readonly values: readonly [number, number];
}

/** Two bars per row: the first pale, the second full. */
export function barPlot(
  title: string,
  legend: readonly [string, string],
  panels: readonly { readonly name: string; readonly rows: readonly BarRow[] }[],
): string {
  const high =
    Math.max(...panels.flatMap(({ rows }) => rows.flatMap(({ values }) => values)).filter(Number.isFinite)) * 1.05;
  const x = (value: number): number => LEFT + (value / high) * (WIDTH - LEFT - RIGHT);
  const content: string[] = [];
  let y = 46;
  for (const { name, rows } of panels) {
    content.push(text(16, y + 4, name, 'faint'));
    for (const [index, { label, color, values }] of rows.entries()) {
      const top = y + 16 + index * 30;
      content.push(text(LEFT - 12, top + 14, label, color === 1 ? 'f1 label' : '', 'end'));
      for (const [which, value] of values.entries()) {
        if (!Number.isFinite(value)) continue;
        const width = Math.max(1, x(value) - LEFT);
        content.push(
          `<rect class="f${color}${which === 0 ? ' pale' : ''}" x="${LEFT}" y="${top + which * 11}" width="${width.toFixed(1)}" height="10" rx="2"/>`,
          text(LEFT + width + 6, top + which * 11 + 9, value >= 10 ? value.toFixed(0) : value.toFixed(1), 'faint'),
        );
      }
    }
    y += 16 + rows.length * 30 + 16;
  }
  content.push(text(WIDTH - 16, y, `pale: ${legend[0]}; full: ${legend[1]}`, 'faint', 'end'));
  return document(y + 14, title, content);
}

export interface Series {
  readonly label: string;
  readonly color: number;
  readonly values: readonly number[];
}

/** Values by number, as running medians; the value axis is logarithmic. */
export function seriesPlot(
  title: string,
  unit: string,
  panels: readonly { readonly name: string; readonly series: readonly Series[] }[],
): string {
  const window = 10;
  const smooth = (values: readonly number[]): number[] =>
    values.flatMap((_, index) => {
      if (index % 5 !== 0 && index !== values.length - 1) return [];
      const part = values.slice(Math.max(0, index - window), index + window + 1).sort((a, b) => a - b);
      return [part[Math.floor(part.length / 2)]!];
    });
  const all = panels.flatMap(({ series }) => series.map(one => ({ one, points: smooth(one.values) })));
  const values = all.flatMap(({ points }) => points);
  const low = Math.min(...values) / 1.4;
  const high = Math.max(...values) * 1.4;
  const longest = Math.max(...all.map(({ one }) => one.values.length));
  const height = 190;
  const content: string[] = [];
  let top = 58;
  for (const { name, series } of panels) {
    const x = (index: number): number => LEFT - 70 + (index / longest) * (WIDTH - LEFT - RIGHT + 40);
    const y = (value: number): number => top + height - (Math.log(value / low) / Math.log(high / low)) * height;
    content.push(text(16, top - 10, name, 'faint'));
    for (const tick of logTicks(low, high)) {
      content.push(
        line('grid', x(0), y(tick), x(longest), y(tick)),
        text(x(0) - 8, y(tick) + 4, short(tick), 'faint', 'end'),
      );
    }
    for (const tick of [1, longest / 4, longest / 2, (3 * longest) / 4, longest]) {
      content.push(text(x(tick), top + height + 16, String(Math.round(tick)), 'faint', 'middle'));
    }
    content.push(line('axis', x(0), top + height, x(longest), top + height));
    const ends: { readonly label: string; readonly color: number; readonly x: number; y: number }[] = [];
    for (const { label, color, values: raw } of series) {
      const points = smooth(raw);
      const at = (index: number): number => x(Math.min(index * 5, raw.length - 1) + 1);
      const path = points
        .map((value, index) => `${index === 0 ? 'M' : 'L'}${at(index).toFixed(1)} ${y(value).toFixed(1)}`)
        .join('');
      content.push(`<path class="s${color} line" d="${path}"/>`);
      ends.push({ label, color, x: x(raw.length) + 6, y: y(points[points.length - 1]!) + 4 });
    }
    // Labels of lines that end close together are moved apart.
    ends.sort((a, b) => a.y - b.y);
    for (const [index, end] of ends.entries()) {
      const above = ends.slice(0, index).filter(other => Math.abs(other.x - end.x) < 80);
      end.y = Math.max(end.y, ...above.map(other => other.y + 14));
      content.push(text(end.x, end.y, end.label, `f${end.color} label`));
    }
    top += height + 56;
  }
  content.push(
    text(
      WIDTH - 16,
      top - 22,
      `${unit}, logarithmic, by number of the container; running median of ${2 * window + 1}`,
      'faint',
      'end',
    ),
  );
  return document(top - 10, title, content);
}
