// What is new of one selection: through the WebSocket, and by asking each second while there is none.

import { paceMs, Problem, wasStopped } from "./api.js";
import { key } from "./key.js";

const POLL_MS = 1_000;
const RETRY_MS = [1_000, 2_000, 5_000, 10_000, 30_000];

// Until `signal` stops it: awaits `on.look()`, which asks for everything since the newest known candle,
// and calls `on.rows(rows)`, `on.state("live" | "polling" | "waiting", detail)`, `on.failed(error)`.
export class Live {
  constructor(chosen, on, signal) {
    const { exchange, symbol, timeframe } = chosen;
    this.subscription = { op: "subscribe", channel: `ohlcv.${timeframe}`, exchange, symbol };
    Object.assign(this, { on, signal });
    this.cursor = null;
    this.failures = 0;
    this.connected = false;
    signal.addEventListener("abort", () => this.socket?.close());
    this.#connect();
    this.#poll();
  }

  #connect() {
    if (this.signal.aborted) return;
    const address = new URL("v1/live", document.baseURI);
    address.protocol = address.protocol.replace("http", "ws");
    const protocols = key() ? ["k2.v1", `k2.key.${key()}`] : ["k2.v1"];
    this.socket = new WebSocket(address, protocols);
    this.socket.onopen = () => this.#subscribe();
    this.socket.onmessage = ({ data }) => this.#received(JSON.parse(data));
    this.socket.onclose = ({ reason }) => this.#closed(reason);
  }

  #subscribe() {
    this.socket.send(JSON.stringify({ ...this.subscription, cursor: this.cursor }));
  }

  async #received(message) {
    if (this.signal.aborted) return;
    if (message.type === "error") this.#refused();
    else if (message.type === "subscribed") await this.#subscribed(message.cursor);
    else if (message.type === "ohlcv") this.#take(message);
  }

  // Without a cursor the stream begins now: what came since the last look is asked for.
  async #subscribed(cursor) {
    const resumed = this.cursor !== null;
    this.cursor ??= cursor;
    if (!resumed && !(await this.#look())) return this.socket.close();
    this.failures = 0;
    this.connected = true;
    this.on.state("live", null);
  }

  #take(message) {
    this.cursor = message.cursor;
    this.on.rows(message.data);
  }

  // A cursor that is too old, say: begin again from now. Without one, there is no such stream.
  #refused() {
    if (this.cursor === null) this.failures = RETRY_MS.length;
    this.cursor = null;
    this.socket.close();
  }

  // An attempt that failed without a reason says nothing: what the last look found stays true.
  #closed(reason) {
    const was = this.connected;
    this.connected = false;
    if (this.signal.aborted) return;
    if (was || reason) this.on.state("polling", reason || null);
    const wait = RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)];
    this.failures += 1;
    setTimeout(() => this.#connect(), wait);
  }

  async #poll() {
    let wait = POLL_MS;
    while (!this.signal.aborted) {
      await pause(wait, this.signal);
      if (this.connected || document.hidden || this.signal.aborted) continue;
      wait = (await this.#look()) ? Math.max(POLL_MS, paceMs) : this.waitMs;
    }
  }

  // Ask for what is new. False where that failed; `waitMs` then says when to try again.
  async #look() {
    try {
      await this.on.look();
      if (this.signal.aborted) return false;
      if (!this.connected) this.on.state("polling", null);
      return true;
    } catch (error) {
      if (wasStopped(error)) return false;
      this.waitMs = 1_000 * (error.retryAfterS ?? 5);
      if (error instanceof Problem && error.status < 500 && error.status !== 429) this.on.failed(error);
      else this.on.state("waiting", error.message);
      return false;
    }
  }
}

// Ends early when the signal stops it.
function pause(ms, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}
