// What is beside the chart: the day's condition, gaps, and how fresh each layer is.

import { element, show } from "./elements.js";
import { capital, counted, duration, second, sentence } from "./texts.js";

const GAPS_SHOWN = 8;

const MEANINGS = {
  available: "The day is over and nothing is known to be missing.",
  pending: "The day is not over, or something of it is still on its way.",
  degraded: "Something is missing, or may be.",
  missing: "There is nothing, though there should be.",
};

// Why a panel is empty, or that its question failed.
export function note(id, text) {
  show(id, element("p", { class: "hint" }, ...sentence(capital(text))));
}

// `rows`: the conditions of days of trades; `day`: the one to tell.
export function showCondition(rows, day) {
  const row = rows.find((each) => each.day === day);
  if (!row) {
    note("condition", `Nobody has judged ${day} yet. Today is judged every five minutes.`);
    return;
  }
  show(
    "condition",
    element("p", {}, tag(row.condition), " ", element("span", { class: "figure" }, day)),
    element("p", { class: "hint" }, MEANINGS[row.condition] ?? ""),
    list(row.reasons.map((reason) => element("li", {}, reason))),
  );
}

// Newest first.
export function showGaps(gaps) {
  const open = gaps.filter((gap) => gap.state !== "repaired");
  const repaired = gaps.length - open.length;
  const also = repaired ? ` ${counted(repaired, "gap")} repaired.` : "";
  if (open.length === 0) {
    note("gaps", `None in the candles that are loaded.${also}`);
    return;
  }
  const missing = open.reduce((sum, gap) => sum + gap.missing, 0);
  const rest = open.length - GAPS_SHOWN;
  show(
    "gaps",
    element("p", {}, `${counted(missing, "trade")} missing in ${counted(open.length, "gap")}.${also}`),
    list(open.slice(0, GAPS_SHOWN).map(gapLine)),
    rest > 0 ? element("p", { class: "hint" }, `and ${rest} more before them`) : "",
  );
}

function gapLine(gap) {
  return element(
    "li",
    {},
    element("span", { class: "figure" }, second(gap.before_at)),
    `: ${counted(gap.missing, "trade")}, ${gap.cause === "unknown" ? "cause unknown" : gap.cause}`,
    gap.state === "unrepairable" ? `, unrepairable${gap.reason ? ` (${gap.reason})` : ""}` : "",
  );
}

// `layers`: [name, lag in seconds or null, allowed seconds or null]; `tail`: meta.freshness or null.
export function showFreshness(layers, tail) {
  const lines = layers.map(([name, lag, allowed]) => layerLine(name, lag, allowed));
  show("freshness", element("dl", { class: "layers" }, ...lines, tailLine(tail)));
}

function layerLine(name, lag, allowed) {
  const late = lag !== null && allowed !== null && lag > allowed;
  const told = lag === null ? "not measured" : lag === 0 ? "up to date" : `${duration(lag)} behind`;
  return line(name, late ? "degraded" : lag === null ? "unknown" : "available", told);
}

function tailLine(tail) {
  if (tail === null) return line("tail", "unknown", "not asked");
  const through = tail.through ? `up to ${second(tail.through)}` : "running";
  const told = { live: through, off: "off: tables alone", down: tail.detail ?? "does not answer" };
  const condition = { live: "available", off: "unknown", down: "degraded" };
  return line("tail", condition[tail.tail] ?? "unknown", told[tail.tail] ?? tail.tail);
}

function line(name, condition, told) {
  return element(
    "div",
    {},
    element("dt", {}, element("span", { class: `light ${condition}` }), name),
    element("dd", {}, told),
  );
}

const list = (items) => (items.length ? element("ul", {}, ...items) : "");

const tag = (condition) => element("span", { class: `tag ${condition}` }, condition);
