// The candles as a chart, drawn by TradingView's Lightweight Charts.

import { startOf, touchedBy } from "./candles.js";
import { places } from "./texts.js";

const NEAR_THE_EDGE = 20;
const BARS_PX = { least: 7, most: 24 };
const RIGHT_BARS = 3;
const SCALES = { volume: { top: 0.8, bottom: 0.03 }, gaps: { top: 0.975, bottom: 0 } };
const dark = matchMedia("(prefers-color-scheme: dark)");

// The library, or null where it was not fetched.
export async function library() {
  try {
    await import("./vendor/lightweight-charts.js");
  } catch {
    return null;
  }
  return window.LightweightCharts ?? null;
}

// `on.older()` is called when the oldest candle comes near, `on.pointed(row | null)` when the
// reader points at a candle.
export class Chart {
  constructor(library, container, on) {
    this.on = on;
    this.#know([]);
    this.pointed = null;
    this.chart = library.createChart(container, { autoSize: true, ...OPTIONS });
    this.candles = this.chart.addCandlestickSeries({ borderVisible: false });
    this.volume = this.#bars("volume", { type: "volume" });
    this.gaps = this.#bars("gaps", { type: "price" });
    this.#paint();
    dark.addEventListener("change", () => this.#paint());
    this.chart.subscribeCrosshairMove((event) => this.#pointAt(event));
    this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      if (range !== null && range.from < NEAR_THE_EDGE && this.rows.length) this.on.older();
    });
  }

  // Draw all of it; `anew` shows the newest candles, else the view stays where it is.
  draw(rows, gaps, anew) {
    this.#know(rows);
    this.#precision();
    this.candles.setData(rows.map(candle));
    this.volume.setData(rows.map((row) => this.#volumeOf(row)));
    this.mark(gaps);
    if (anew) this.end();
  }

  // Mark the windows that gaps touch on the time axis.
  mark(gaps) {
    this.gaps.setData(touchedBy(gaps, this.rows).map((time) => ({ time, value: 1 })));
  }

  // Draw the newest candle again, or one after it.
  drawLast(rows) {
    this.#know(rows);
    this.candles.update(candle(rows.at(-1)));
    this.volume.update(this.#volumeOf(rows.at(-1)));
  }

  // The newest candles, as many as are wide enough to be told apart; few of them are wider.
  end() {
    const scale = this.chart.timeScale();
    const fair = scale.width() / (this.rows.length + RIGHT_BARS);
    scale.applyOptions({ barSpacing: Math.min(BARS_PX.most, Math.max(BARS_PX.least, fair)) });
    scale.scrollToPosition(RIGHT_BARS, false);
  }

  // The oldest candles there are so far.
  start() {
    const range = this.chart.timeScale().getVisibleLogicalRange();
    if (range !== null) this.chart.timeScale().setVisibleLogicalRange({ from: 0, to: range.to - range.from });
  }

  // Move the crosshair by that many candles; from the newest on where it was nowhere.
  step(by) {
    const at = this.pointed === null ? this.rows.length : this.rows.indexOf(this.pointed);
    const row = this.rows[Math.max(0, Math.min(this.rows.length - 1, at + by))];
    if (!row) return null;
    this.pointed = row;
    this.#bringIntoView(row);
    this.chart.setCrosshairPosition(Number(row.close), startOf(row), this.candles);
    this.on.pointed(row);
    return row;
  }

  // Show more candles (a factor above 1) or fewer; the newest one in view stays.
  zoom(factor) {
    const scale = this.chart.timeScale();
    const range = scale.getVisibleLogicalRange();
    if (range === null) return;
    const from = range.to - Math.max(10, (range.to - range.from) * factor);
    scale.setVisibleLogicalRange({ from, to: range.to });
  }

  leave() {
    this.pointed = null;
    this.chart.clearCrosshairPosition();
    this.on.pointed(null);
  }

  #know(rows) {
    this.rows = rows;
    this.byTime = new Map(rows.map((row) => [startOf(row), row]));
  }

  #bringIntoView(row) {
    const scale = this.chart.timeScale();
    const x = scale.timeToCoordinate(startOf(row));
    const range = scale.getVisibleLogicalRange();
    if (x === null || range === null) return;
    const index = scale.coordinateToLogical(x);
    const shift = index < range.from ? index - range.from : Math.max(0, index - range.to);
    if (shift) scale.setVisibleLogicalRange({ from: range.from + shift, to: range.to + shift });
  }

  #pointAt(event) {
    // A window without trades has no row: the newest candle is told, as if nothing were pointed at.
    this.pointed = this.byTime.get(event.time) ?? null;
    this.on.pointed(this.pointed);
  }

  #bars(scale, format) {
    const series = this.chart.addHistogramSeries({
      priceScaleId: scale,
      priceFormat: format,
      priceLineVisible: false,
      lastValueVisible: false,
    });
    this.chart.priceScale(scale).applyOptions({ scaleMargins: SCALES[scale], visible: false });
    return series;
  }

  #volumeOf(row) {
    const rose = Number(row.close) >= Number(row.open);
    const color = rose ? this.colors.volumeUp : this.colors.volumeDown;
    return { time: startOf(row), value: Number(row.volume), color };
  }

  // As many digits on the axis as the newest prices use.
  #precision() {
    const used = this.rows.slice(-200).flatMap((row) => [places(row.high), places(row.low)]);
    const precision = Math.max(2, ...used);
    this.candles.applyOptions({ priceFormat: { precision, minMove: 10 ** -precision } });
  }

  #paint() {
    const colors = (this.colors = fromStyles());
    this.chart.applyOptions({
      layout: { background: { color: colors.paper }, textColor: colors.pale, fontFamily: colors.font },
      grid: { vertLines: { color: colors.line }, horzLines: { color: colors.line } },
      timeScale: { borderColor: colors.line },
      rightPriceScale: { borderColor: colors.line },
    });
    const { up, down } = colors;
    this.candles.applyOptions({ upColor: up, downColor: down, wickUpColor: up, wickDownColor: down });
    this.gaps.applyOptions({ color: colors.gap });
    this.volume.setData(this.rows.map((row) => this.#volumeOf(row)));
  }
}

const OPTIONS = {
  timeScale: { timeVisible: true, secondsVisible: false, rightOffset: RIGHT_BARS, minBarSpacing: 1 },
  rightPriceScale: { scaleMargins: { top: 0.06, bottom: 0.24 } },
  crosshair: { mode: 0 },
  // One finger scrolls the page up and down, and the chart from side to side.
  handleScroll: { vertTouchDrag: false },
};

function candle(row) {
  const { open, high, low, close } = row;
  return { time: startOf(row), open: Number(open), high: Number(high), low: Number(low), close: Number(close) };
}

// The colours of the page's style sheet, which knows whether it is day or night.
function fromStyles() {
  const styles = getComputedStyle(document.documentElement);
  const value = (name) => styles.getPropertyValue(name).trim();
  return {
    paper: value("--paper"),
    pale: value("--pale"),
    line: value("--line"),
    up: value("--up"),
    down: value("--down"),
    volumeUp: value("--volume-up"),
    volumeDown: value("--volume-down"),
    gap: value("--gap"),
    font: styles.fontFamily,
  };
}
