export interface Table {
  readonly title: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** Said below it. */
  readonly note?: string;
}

/** The first column holds names and is flush left, as is a column named in `left`. */
export function plain({ title, head, rows, note }: Table): string {
  const widths = head.map((cell, column) => Math.max(cell.length, ...rows.map(row => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join('  ')
      .trimEnd();
  return `${[title, line(head), widths.map(width => '-'.repeat(width)).join('  '), ...rows.map(line), ...(note === undefined ? [] : [note])].join('\n')}\n`;
}

export function markdown({ head, rows, note }: Table): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map(cell => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return `${[line(head), line(head.map((_, column) => (column === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n')}\n${note === undefined ? '' : `\n${note}\n`}`;
}

/** Three significant digits, never more than needed. */
export function ms(value: number): string {
  if (!Number.isFinite(value)) return '–';
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

export function times(value: number): string {
  return Number.isFinite(value) ? (value >= 10 ? value.toFixed(0) : value.toFixed(2)) : '–';
}

export function kib(value: number): string {
  if (!Number.isFinite(value)) return '–';
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(1);
}
