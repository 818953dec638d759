// The two dialogs: asking for a key, and the help.

import { byId } from "./elements.js";
import { remember } from "./key.js";
import { capital, sentence } from "./texts.js";

const NOT_A_KEY = "That cannot be a key: a key is one word of letters, digits and signs, such as k2_….";

// `onKey()` is called when there is a new key.
export function installDialogs(onKey) {
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const field = byId("key");
    if (!remember(field.value)) {
      byId("key-why").textContent = NOT_A_KEY;
      return;
    }
    field.value = "";
    byId("key-dialog").close();
    onKey();
  });
  byId("key-cancel").addEventListener("click", () => byId("key-dialog").close());
  byId("change-key").addEventListener("click", () => askForKey("Another key for this tab."));
  byId("show-help").addEventListener("click", openHelp);
  byId("help-close").addEventListener("click", () => byId("help").close());
}

// Ask for a key, with the reason; a dialog that is open already only tells the new reason.
export function askForKey(why) {
  byId("key-why").replaceChildren(...sentence(capital(why)));
  if (!byId("key-dialog").open) byId("key-dialog").showModal();
}

export function openHelp() {
  byId("help").showModal();
}
