// The figures of one candle, above the chart.

import { element, show } from "./elements.js";
import { decimal, windowName } from "./texts.js";

const NAMES = { open: "Open", high: "High", low: "Low", close: "Close", volume: "Volume", vwap: "VWAP" };

export function showFigures(row) {
  if (row === null || row === undefined) {
    show("figures");
    return;
  }
  show(
    "figures",
    figure(row.final === false ? "Start, still forming" : "Start", windowName(row)),
    ...Object.entries(NAMES).map(([name, title]) => figure(title, decimal(row[name]))),
    figure("Trades", row.trade_count.toLocaleString("en")),
  );
}

// One sentence of the same for those who listen.
export function spoken(row) {
  const figures = Object.keys(NAMES).map((name) => `${name} ${row[name]}`);
  return `${windowName(row)}: ${figures.join(", ")}, ${row.trade_count} trades`;
}

function figure(title, ...shown) {
  return element("div", {}, element("dt", {}, title), element("dd", {}, ...shown));
}
