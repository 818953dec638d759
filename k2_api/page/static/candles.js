// The candles of one exchange, symbol and timeframe that the page has, in the order of time.

export class Candles {
  constructor() {
    this.rows = [];
    this.byStart = new Map();
  }

  get first() {
    return this.rows[0];
  }

  get last() {
    return this.rows.at(-1);
  }

  // Take rows in; a later one of the same window replaces. Says what a chart has to do: "all"
  // anew, only "last", or nothing (null).
  take(rows) {
    const before = this.last?.window_start;
    const changed = rows.filter((row) => !same(row, this.byStart.get(row.window_start)));
    if (changed.length === 0) return null;
    for (const row of changed) this.byStart.set(row.window_start, row);
    // Instants are all written alike, so their texts sort as they do.
    this.rows = [...this.byStart.values()].sort((a, b) => (a.window_start < b.window_start ? -1 : 1));
    return changed.length === 1 && before !== undefined && changed[0].window_start >= before ? "last" : "all";
  }
}

function same(row, known) {
  return known !== undefined && Object.keys(row).every((name) => row[name] === known[name]);
}

// Unix seconds of a window's start.
export const startOf = (row) => Date.parse(row.window_start) / 1000;
export const endOf = (row) => Date.parse(row.window_end) / 1000;

const MOST_PER_HOLE = 200;

// The windows that unrepaired gaps touch: candles there are, and windows without one between them.
export function touchedBy(gaps, rows) {
  const spans = gaps
    .filter((gap) => gap.state !== "repaired")
    .map((gap) => [Date.parse(gap.before_at) / 1000, Date.parse(gap.after_at) / 1000]);
  const hit = (from, to) => spans.some(([before, after]) => from <= after && to > before);
  const touched = [];
  rows.forEach((row, at) => {
    if (hit(startOf(row), endOf(row))) touched.push(startOf(row));
    if (at + 1 < rows.length) touched.push(...empty(row, startOf(rows[at + 1]), hit));
  });
  return touched;
}

function empty(row, until, hit) {
  const step = endOf(row) - startOf(row);
  const count = Math.floor((until - endOf(row)) / step);
  const stride = step * Math.max(1, Math.ceil(count / MOST_PER_HOLE));
  const found = [];
  for (let start = endOf(row); start + step <= until; start += stride) {
    if (hit(start, start + stride)) found.push(start);
  }
  return found;
}
