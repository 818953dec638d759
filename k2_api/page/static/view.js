// One selection on the screen: its candles as chart or table, their figures, and what is beside them.

import { wasStopped } from "./api.js";
import { Beside } from "./beside.js";
import { Candles } from "./candles.js";
import { byId, show } from "./elements.js";
import { showFigures } from "./figures.js";
import { History } from "./history.js";
import { Live } from "./live.js";
import { table } from "./table.js";
import { counted, windowName } from "./texts.js";

export class View {
  // `drawing.chart`: a Chart, or null where there is no library; `failed(error)`: what to tell.
  constructor(chosen, drawing, failed) {
    Object.assign(this, { chosen, drawing, failed });
    this.stopped = new AbortController();
    this.candles = new Candles();
    this.pointed = null;
    this.looking = 0;
    this.held = [];
    this.history = new History(chosen, this.stopped.signal);
    this.beside = new Beside(chosen, this, this.stopped.signal);
  }

  stop() {
    this.stopped.abort();
  }

  // The candle that is told: the one pointed at, else the newest.
  get told() {
    return this.candles.byStart.get(this.pointed?.window_start) ?? this.candles.last;
  }

  async begin() {
    this.#blank();
    try {
      this.candles.take(await this.history.older());
    } catch (error) {
      if (wasStopped(error)) return;
      this.beside.blank("no answer");
      this.failed(error);
      return;
    }
    this.#draw(true);
    this.#follow();
    this.beside.begin();
  }

  // The page of candles before the oldest one, once at a time.
  async older() {
    if (this.loading || this.history.ended || !this.candles.first) return;
    this.loading = true;
    try {
      this.candles.take(await this.history.older());
      this.#draw(false);
      this.beside.look();
    } catch (error) {
      if (!wasStopped(error)) this.#state("waiting", error.message);
    } finally {
      this.loading = false;
    }
  }

  point(row) {
    this.pointed = row;
    this.#tell();
  }

  // Draw everything again, as chart or as table.
  redraw() {
    this.#draw(true);
  }

  mark(gaps) {
    this.drawing.chart?.mark(gaps);
  }

  #blank() {
    const { exchange, symbol, timeframe } = this.chosen;
    byId("title").textContent = `${symbol} · ${exchange} · ${timeframe}`;
    document.title = `${symbol} ${timeframe} · K2`;
    byId("status").textContent = "loading candles";
    byId("range").textContent = "";
    show("figures");
    show("empty");
    show("rows");
    this.beside.blank("loading");
    this.drawing.chart?.draw([], [], false);
  }

  #follow() {
    const on = {
      look: () => this.look(),
      rows: (rows) => (this.looking ? this.held.push(...rows) : this.#taken(rows)),
      state: (state, detail) => this.#state(state, detail),
      failed: (error) => {
        this.stop();
        this.failed(error);
      },
    };
    new Live(this.chosen, on, this.stopped.signal);
  }

  // Ask for the newest two candles again, for trades may be late, and for all that came after them.
  // What is streamed meanwhile may be newer than the answer: it is taken behind it.
  async look() {
    this.looking += 1;
    try {
      const known = this.candles.rows.at(-2) ?? this.candles.last;
      this.#taken(await this.history.since(known?.window_start ?? null));
    } finally {
      this.looking -= 1;
      if (this.looking === 0) this.#taken(this.held.splice(0));
    }
  }

  #taken(rows) {
    if (this.stopped.signal.aborted) return;
    const change = this.candles.take(rows);
    if (change === "all") this.#draw(false);
    if (change === "last") {
      if (this.drawing.asTable) this.#draw(false);
      else this.drawing.chart?.drawLast(this.candles.rows);
      this.#tell();
    }
  }

  #draw(anew) {
    const rows = this.candles.rows;
    show("empty", ...(rows.length ? [] : [`No candles of ${this.chosen.timeframe} yet: they appear here with the first trades.`]));
    if (this.drawing.asTable) show("rows", table(rows));
    else this.drawing.chart?.draw(rows, this.beside.gaps, anew);
    this.#tell();
  }

  #tell() {
    showFigures(this.told);
    if (!this.told) return;
    this.beside.tellDay();
    const { first, last, rows } = this.candles;
    const whole = this.history.ended ? ", all there are" : "";
    byId("range").textContent = `${counted(rows.length, "candle")}, ${windowName(first)} to ${windowName(last)}${whole}`;
  }

  #state(state, detail) {
    const told = { live: "live", polling: "asking each second", waiting: "waiting" };
    const status = byId("status");
    const text = detail ? `${told[state]}: ${detail}` : told[state];
    status.className = state;
    // The same again would be read out again.
    if (status.textContent !== text) status.textContent = text;
  }
}
