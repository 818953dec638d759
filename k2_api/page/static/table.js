// The candles as a table: for those who cannot see a chart, and where there is none.

import { element } from "./elements.js";
import { decimal, windowName } from "./texts.js";

const SHOWN = 200;
const COLUMNS = ["open", "high", "low", "close", "volume", "vwap"];

// The newest candles first.
export function table(rows) {
  const head = ["start", ...COLUMNS, "trades"].map((name) => element("th", { scope: "col" }, name));
  const body = rows.slice(-SHOWN).reverse().map(line);
  return element(
    "table",
    {},
    element("thead", {}, element("tr", {}, ...head)),
    element("tbody", {}, ...body),
  );
}

function line(row) {
  return element(
    "tr",
    { class: row.final === false ? "forming" : null },
    element("th", { scope: "row" }, windowName(row)),
    ...COLUMNS.map((name) => element("td", {}, decimal(row[name]))),
    element("td", {}, String(row.trade_count)),
  );
}
