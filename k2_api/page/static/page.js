// The page: choosing what is looked at, and showing it.

import { ask, Problem, wasStopped } from "./api.js";
import { Chart, library } from "./chart.js";
import { askForKey, installDialogs, openHelp } from "./dialogs.js";
import { byId, element, show } from "./elements.js";
import { spoken } from "./figures.js";
import { takeFromAddress } from "./key.js";
import { fromAddress, nearest, toAddress } from "./selection.js";
import { install } from "./shortcuts.js";
import { SymbolSearch } from "./symbols.js";
import { capital, sentence } from "./texts.js";
import { View } from "./view.js";

const NO_LIBRARY =
  "The chart library is not there, so candles come as a table: run deploy/chart/fetch.sh in the folder of K2, then load this page again.";

const AGAIN_MS = 5_000;
const OTHERS_MS = 30_000;

const drawing = { chart: null, asTable: false };
let instruments = [];
let chosen = fromAddress();
let view = null;
let again = null;
let others = null;

const search = new SymbolSearch((one) => choose({ exchange: one.exchange, symbol: one.symbol }));

async function begin() {
  takeFromAddress();
  installDialogs(load);
  installControls();
  const [charts, settings] = await Promise.all([library(), ask("page/settings.json")]);
  showSettings(settings);
  if (charts === null) withoutChart();
  else drawing.chart = new Chart(charts, byId("chart"), { older: () => view?.older(), pointed: (row) => view?.point(row) });
  await load();
}

// Ask which instruments there are, and show the nearest to what was chosen.
async function load() {
  clearTimeout(again);
  clearInterval(others);
  try {
    instruments = (await ask("v1/symbols")).data;
  } catch (error) {
    failed(error);
    return;
  }
  show("message");
  if (instruments.length === 0) {
    show("empty", "Nothing has been recorded yet. The first trades are shown here as soon as they are in the tables.");
    again = setTimeout(load, AGAIN_MS);
    return;
  }
  offerExchanges();
  choose({});
  others = setInterval(lookForOthers, OTHERS_MS);
}

// Instruments that have appeared since. That asking failed is told by what is looked at.
async function lookForOthers() {
  const answer = await ask("v1/symbols").catch(() => null);
  if (answer === null) return;
  instruments = answer.data;
  offerExchanges();
  search.know(instruments);
}

// Look at something else; parts that are not given stay as they are.
function choose(parts) {
  const one = nearest(instruments, { ...chosen, ...parts });
  chosen = { ...chosen, ...parts, exchange: one.exchange, symbol: one.symbol };
  toAddress(chosen);
  byId("exchange").value = one.exchange;
  search.offer(instruments, one);
  for (const radio of radios()) radio.checked = radio.value === chosen.timeframe;
  view?.stop();
  show("message");
  byId("chart").setAttribute("aria-label", `Candles of ${one.symbol} on ${one.exchange}. Arrow keys choose one.`);
  view = new View(chosen, drawing, failed);
  view.begin();
}

function failed(error) {
  if (wasStopped(error)) return;
  byId("status").textContent = byId("status").className = "";
  if (error.wantsKey) askForKey(error.message);
  const passes = !(error instanceof Problem) || error.status >= 500 || error.status === 429;
  if (passes) again = setTimeout(load, Math.max(AGAIN_MS, 1_000 * (error.retryAfterS ?? 0)));
  const retry = element("button", { type: "button" }, "Try again");
  retry.addEventListener("click", load);
  const told = error.title
    ? [element("strong", {}, `${error.title}: `), ...sentence(error.message)]
    : sentence(capital(error.message));
  show("message", element("p", {}, ...told), retry);
}

function showSettings({ version, dagster, timeframes }) {
  byId("version").textContent = version;
  byId("dagster").hidden = dagster === null;
  if (dagster !== null) byId("dagster").href = dagster;
  if (!timeframes.includes(chosen.timeframe)) chosen.timeframe = timeframes[0];
  byId("timeframes").replaceChildren(...timeframes.map(segment));
}

function segment(name) {
  const checked = name === chosen.timeframe;
  const radio = element("input", { type: "radio", name: "timeframe", value: name, checked });
  return element("label", {}, radio, element("span", {}, name));
}

const radios = () => [...byId("timeframes").querySelectorAll("input")];

function offerExchanges() {
  const names = [...new Set(instruments.map((one) => one.exchange))];
  const list = byId("exchange");
  if (names.join() === [...list.options].map((option) => option.value).join()) return;
  list.replaceChildren(...names.map((name) => element("option", { value: name }, name)));
  list.value = chosen.exchange;
  list.disabled = false;
}

function installControls() {
  byId("choice").addEventListener("submit", (event) => event.preventDefault());
  byId("exchange").addEventListener("change", (event) => choose({ exchange: event.target.value }));
  byId("timeframes").addEventListener("change", (event) => choose({ timeframe: event.target.value }));
  byId("switch-view").addEventListener("click", () => switchView(!drawing.asTable));
  addEventListener("hashchange", () => takeFromAddress() && load());
  install({ everywhere: EVERYWHERE, chart: IN_CHART });
}

function withoutChart() {
  show("notice", element("p", {}, NO_LIBRARY));
  byId("switch-view").disabled = true;
  switchView(true);
}

function switchView(asTable) {
  drawing.asTable = asTable;
  byId("chart").hidden = asTable;
  byId("rows").hidden = !asTable;
  byId("switch-view").setAttribute("aria-pressed", String(asTable));
  view?.redraw();
}

function nextTimeframe(by) {
  const all = radios();
  const at = all.findIndex((radio) => radio.checked) + by;
  if (all[at]) choose({ timeframe: all[at].value });
}

function step(by) {
  const row = drawing.chart?.step(by);
  if (row) byId("spoken").textContent = spoken(row);
}

const EVERYWHERE = [
  [["/"], "search a symbol", () => search.focus()],
  [["e"], "choose an exchange", () => byId("exchange").focus()],
  [["["], "the next shorter timeframe", () => nextTimeframe(-1)],
  [["]"], "the next longer timeframe", () => nextTimeframe(1)],
  [["t"], "chart or table", () => byId("switch-view").click()],
  [["c"], "into the chart", () => byId("chart").focus()],
  [["k"], "another key", () => byId("change-key").click()],
  [["?"], "this help", openHelp],
];

const IN_CHART = [
  [["ArrowLeft"], "the candle before", () => step(-1)],
  [["ArrowRight"], "the candle after", () => step(1)],
  [["PageUp"], "ten candles before", () => step(-10)],
  [["PageDown"], "ten candles after", () => step(10)],
  [["+", "="], "fewer candles, wider", () => drawing.chart?.zoom(0.7)],
  [["-"], "more candles", () => drawing.chart?.zoom(1.4)],
  [["Home"], "the oldest candles so far", () => drawing.chart?.start()],
  [["End"], "the newest candles", () => drawing.chart?.end()],
  [["Escape"], "leave the candle", () => drawing.chart?.leave()],
];

begin().catch(failed);
