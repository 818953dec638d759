// Stored candles: the newest ones, those before them, and those since the last look. After each
// answer `table` says where they are from, and `freshness` how far Kafka's tail is in it.

import { ask } from "./api.js";

const PAGE = 500;
const AGAIN = 1_000;

export class History {
  // `chosen`: exchange, symbol, timeframe. `ended` says whether the first of all candles was read.
  constructor(chosen, signal) {
    const { exchange, symbol, timeframe } = chosen;
    this.path = `v1/ohlcv/${encodeURIComponent(timeframe)}`;
    this.of = { exchange, symbol };
    this.signal = signal;
    this.cursor = null;
    this.ended = false;
    this.table = null;
    this.freshness = null;
  }

  // The newest candles at first, then the page before the oldest one so far.
  async older() {
    const answer = await this.#ask({ order: "desc", limit: PAGE, cursor: this.cursor });
    this.cursor = answer.meta.next_cursor;
    this.ended = this.cursor === null;
    return answer.data;
  }

  // Everything from the window that starts there on.
  async since(start) {
    const rows = [];
    let cursor = null;
    do {
      const answer = await this.#ask({ start, limit: AGAIN, cursor });
      rows.push(...answer.data);
      cursor = answer.meta.next_cursor;
    } while (cursor !== null);
    return rows;
  }

  async #ask(parameters) {
    const answer = await ask(this.path, { ...this.of, ...parameters }, this.signal);
    this.table = answer.meta.table;
    this.freshness = answer.meta.freshness ?? null;
    return answer;
  }
}
