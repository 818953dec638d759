// The search field for instruments: those of the chosen exchange first, then those of others.

import { byId, element } from "./elements.js";

const SHOWN = 60;

export class SymbolSearch {
  // `onChoice(instrument)` is called with what the reader picked.
  constructor(onChoice) {
    this.onChoice = onChoice;
    this.input = byId("symbol");
    this.list = byId("symbols");
    this.instruments = [];
    this.found = [];
    this.at = -1;
    this.input.addEventListener("input", () => this.#open(this.input.value));
    this.input.addEventListener("focus", () => this.input.select());
    this.input.addEventListener("click", () => this.#open(""));
    this.input.addEventListener("blur", () => this.#close());
    this.input.addEventListener("keydown", (event) => this.#key(event));
    // Before the field loses the focus, which closes the list.
    this.list.addEventListener("mousedown", (event) => this.#click(event));
  }

  offer(instruments, chosen) {
    this.know(instruments);
    this.chosen = chosen;
    this.input.disabled = false;
    this.input.value = chosen.symbol;
  }

  // What can be found from now on; a list that is open stays as it is.
  know(instruments) {
    this.instruments = instruments;
  }

  focus() {
    this.input.focus();
    this.#open("");
  }

  #open(text) {
    this.found = matching(this.instruments, text, this.chosen?.exchange);
    const options = this.found.slice(0, SHOWN).map((one, at) => this.#option(one, at));
    this.list.replaceChildren(...(options.length ? options : [none(text)]), ...more(this.found.length - SHOWN));
    this.list.hidden = false;
    this.input.setAttribute("aria-expanded", "true");
    this.#mark(this.found.length && text ? 0 : -1);
  }

  #option(one, at) {
    const elsewhere = one.exchange === this.chosen?.exchange ? "" : one.exchange;
    return element(
      "li",
      { role: "option", id: `symbol-${at}`, "aria-selected": "false" },
      element("span", {}, one.symbol),
      element("span", { class: "hint" }, elsewhere || one.exchange_symbol),
    );
  }

  #mark(at) {
    this.at = at;
    const options = this.list.querySelectorAll("[role=option]");
    options.forEach((option, place) => option.setAttribute("aria-selected", String(place === at)));
    options[at]?.scrollIntoView({ block: "nearest" });
    if (at >= 0) this.input.setAttribute("aria-activedescendant", `symbol-${at}`);
    else this.input.removeAttribute("aria-activedescendant");
  }

  #key(event) {
    const moves = { ArrowDown: 1, ArrowUp: -1 };
    const count = Math.min(this.found.length, SHOWN);
    if (event.key in moves) {
      if (this.list.hidden) this.#open("");
      else if (count) this.#mark((this.at + moves[event.key] + count) % count);
    } else if (event.key === "Enter") {
      if (!this.list.hidden && this.found[this.at]) this.#pick(this.found[this.at]);
    } else if (event.key === "Escape") {
      this.#close();
      this.input.blur();
    } else {
      return;
    }
    event.preventDefault();
  }

  #click(event) {
    event.preventDefault();
    const option = event.target.closest("[role=option]");
    if (option) this.#pick(this.found[[...this.list.children].indexOf(option)]);
  }

  #pick(one) {
    this.chosen = one;
    this.#close();
    this.input.blur();
    this.onChoice(one);
  }

  #close() {
    this.list.hidden = true;
    this.input.value = this.chosen?.symbol ?? "";
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }
}

// Instruments whose names contain the text, whatever the case and the separators.
export function matching(instruments, text, exchange) {
  const wanted = bare(text);
  const rank = (one) => (one.exchange === exchange ? 0 : 2) + (bare(one.symbol).startsWith(wanted) ? 0 : 1);
  return instruments
    .filter((one) => bare(one.symbol).includes(wanted) || bare(one.exchange_symbol).includes(wanted))
    .sort((a, b) => rank(a) - rank(b) || a.symbol.localeCompare(b.symbol) || a.exchange.localeCompare(b.exchange));
}

const bare = (text) => text.toUpperCase().replace(/[^\p{L}\p{N}]/gu, "");

const none = (text) => element("li", { class: "hint" }, `No symbol contains “${text}”.`);

const more = (count) =>
  count > 0 ? [element("li", { class: "hint" }, `and ${count} more: type to narrow them down`)] : [];
