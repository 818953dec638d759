// The keyboard: one table of what each key does, from which the help is made as well.

import { byId, element } from "./elements.js";

const TYPING = "input:not([type=radio]), select, textarea";

// `actions`: [keys, what they do, function]; keys of "chart" work while the chart has the focus.
export function install({ everywhere, chart }) {
  document.addEventListener("keydown", (event) => {
    if (event.target.closest(TYPING) || document.querySelector("dialog[open]")) return;
    run(everywhere, event);
  });
  byId("chart").addEventListener("keydown", (event) => run(chart, event));
  const about = [...everywhere, ...chart.map(([keys, does]) => [keys, `${does} (in the chart)`])];
  byId("shortcuts").replaceChildren(...about.map(([keys, does]) => entry(keys, does)));
}

function run(actions, event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const found = actions.find(([keys]) => keys.includes(event.key));
  if (!found) return;
  event.preventDefault();
  event.stopPropagation();
  found[2](event.key);
}

const NAMES = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc" };

function entry(keys, does) {
  const shown = keys.map((name) => element("kbd", {}, NAMES[name] ?? name));
  return element("div", {}, element("dt", {}, ...shown), element("dd", {}, does));
}
