#!/usr/bin/env node
/**
 * Draws what a command printed as a terminal window in SVG: `npm run demo | node scripts/terminal-svg.mjs '# npm run demo'
 * > docs/demo.svg`. The text is the output as it came; the only thing added is colour: headings and state names.
 */
import { readFileSync } from 'node:fs';

const CELL = 7.83;
const LINE = 18;
const MARGIN = 20;
const BAR = 34;
const ESCAPES = /\x1b\[[0-9;?]*[A-Za-z]|\r/g;

function escaped(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function classOf(line) {
  if (line.startsWith('# ')) return 'prompt';
  if (line.startsWith('==')) return 'head';
  if (/^ \w+ -> \w+/.test(line)) return 'move';
  if (line.startsWith('>') || /^ {3}notice:/.test(line)) return 'faint';
  return '';
}

const [prompt = '# '] = process.argv.slice(2);
const printed = readFileSync(0, 'utf8').replaceAll(ESCAPES, '').trim().split('\n');
const lines = [prompt, ...printed.map(line => line.trimEnd())];
const columns = Math.max(...lines.map(line => line.length));
const width = Math.ceil(columns * CELL + 2 * MARGIN);
const height = BAR + lines.length * LINE + MARGIN;

const rows = lines.flatMap((line, index) => {
  if (line === '') return [];
  const indent = line.length - line.trimStart().length;
  const text = line.trimStart();
  const name = classOf(line);
  const x = (MARGIN + indent * CELL).toFixed(1);
  const y = BAR + (index + 1) * LINE - 4;
  // textLength: the same width whatever monospace font the reader has.
  const length = (text.length * CELL).toFixed(1);
  return [
    `<text x="${x}" y="${y}" textLength="${length}"${name === '' ? '' : ` class="${name}"`}>${escaped(text).replaceAll(' ', '\u00a0')}</text>`,
  ];
});

process.stdout.write(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escaped(prompt)}, in a terminal">
<style>
  text { font: 13px "DejaVu Sans Mono", ui-monospace, Menlo, Consolas, monospace; fill: #d4d4d8; }
  .prompt { fill: #f4f4f5; font-weight: 700; } .head { fill: #7dd3fc; font-weight: 700; } .move { fill: #86efac; } .faint { fill: #8b8b94; }
</style>
<rect width="${width}" height="${height}" rx="8" fill="#18181b"/>
<circle cx="20" cy="17" r="5" fill="#52525b"/><circle cx="38" cy="17" r="5" fill="#52525b"/><circle cx="56" cy="17" r="5" fill="#52525b"/>
${rows.join('\n')}
</svg>
`);
