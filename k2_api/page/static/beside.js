// What stands beside a selection's candles, asked for again every half minute.

import { ask, wasStopped } from "./api.js";
import { note, showCondition, showFreshness, showGaps } from "./panels.js";

const AGAIN_MS = 30_000;
const DAY_MS = 86_400_000;
const MOST_ROWS = 1_000;

export class Beside {
  // `view`: whose candles these are, and which of them is told.
  constructor(chosen, view, signal) {
    Object.assign(this, { chosen, view, signal });
    this.conditions = null;
    this.gaps = [];
  }

  blank(why) {
    for (const panel of ["condition", "gaps", "freshness"]) note(panel, why);
  }

  begin() {
    this.look();
    const timer = setInterval(() => document.hidden || this.look(), AGAIN_MS);
    this.signal.addEventListener("abort", () => clearInterval(timer));
  }

  // The condition of the day of the candle that is told.
  tellDay() {
    const row = this.view.told;
    if (this.conditions && row) showCondition(this.conditions, row.window_start.slice(0, 10));
  }

  // Each panel tells its own failure; the others and the chart go on.
  look() {
    const { exchange, symbol } = this.chosen;
    const first = this.view.candles.first;
    if (!first) {
      for (const panel of ["condition", "gaps"]) note(panel, "Nothing to say without candles.");
      return;
    }
    // A day more: a gap that began before the first candle may reach it.
    const start = new Date(Date.parse(first.window_start) - DAY_MS).toISOString();
    const of = { exchange, symbol, start, order: "desc", limit: MOST_ROWS };
    this.#panel("condition", () => this.#condition({ ...of, kind: "trades" }));
    this.#panel("gaps", () => this.#gaps(of));
    this.#panel("freshness", () => this.#freshness());
  }

  async #condition(of) {
    this.conditions = (await ask("v1/condition", of, this.signal)).data;
    this.tellDay();
  }

  async #gaps(of) {
    this.gaps = (await ask("v1/gaps", of, this.signal)).data;
    showGaps(this.gaps);
    this.view.mark(this.gaps);
  }

  async #freshness() {
    const { tables } = (await ask("v1/stats", {}, this.signal)).data;
    // Also whether a stream has left anything out.
    await this.view.look();
    const { table, freshness } = this.view.history;
    showFreshness(layers(tables, this.chosen.exchange, table), freshness);
  }

  async #panel(id, fill) {
    try {
      await fill();
    } catch (error) {
      if (!wasStopped(error)) note(id, error.message);
    }
  }
}

// The tables that the candles of an exchange come through: name, lag and what it may be.
function layers(tables, exchange, ofCandles) {
  const names = {
    bronze: `bronze.${exchange}_trades`,
    silver: `silver.${exchange}_trades`,
    gold: "gold.trades",
    candles: ofCandles,
  };
  return Object.entries(names).map(([layer, name]) => {
    const found = tables.find((each) => each.name === name);
    return [layer, found?.lag_seconds ?? null, found?.slo_seconds ?? null];
  });
}
