// How figures and instants are written. Decimals stay the text that came, digit for digit.

import { element } from "./elements.js";

// The decimal as it came; zeros that say nothing are only paler.
export function decimal(text) {
  const [, whole, zeros] = /^(-?\d+(?:\.\d*[1-9])?)(\.?0*)$/.exec(text) ?? [text, text, ""];
  return element("span", { class: "figure" }, whole, element("span", { class: "zeros" }, zeros));
}

// How many digits after the point say something.
export function places(text) {
  return (/\.(\d*[1-9])/.exec(text)?.[1] ?? "").length;
}

// "2024-08-08 23:55" of an instant as the API writes it; seconds only where there are any.
export function instant(text) {
  const [, day, minute, second] = /^(\S+?)T(\d\d:\d\d):(\d\d(?:\.\d*[1-9])?)/.exec(text);
  return `${day} ${minute}${second === "00" ? "" : `:${second}`}`;
}

// The same to the second, cut.
export const second = (text) => text.slice(0, 19).replace("T", " ");

// The start of a candle: its day alone where candles are days or longer.
export function windowName(row) {
  const whole = Date.parse(row.window_end) - Date.parse(row.window_start) >= 86_400_000;
  return whole && row.window_start.includes("T00:00:00") ? row.window_start.slice(0, 10) : instant(row.window_start);
}

// "4 s", "3 min", "5 h", "2 days".
export function duration(seconds) {
  if (seconds < 100) return `${Math.round(seconds)} s`;
  if (seconds < 6_000) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3_600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

// "1 gap", "2 gaps".
export function counted(number, what) {
  return `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;
}

// A sentence of the API: what stands in backticks is code.
export function sentence(text) {
  const parts = text.split("`");
  return parts.map((part, at) => (at % 2 && at < parts.length - 1 ? element("code", {}, part) : part));
}

export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
