// The API key: in this tab's session storage, or handed over in the address's fragment, which no
// browser sends to a server and which is taken out of the address at once.

const NAME = "k2.key";
const FRAGMENT = /^#key=(.+)$/;
const PRINTABLE = /^[\x21-\x7e]{1,200}$/;

// Take a key out of the address, if one is there; says whether it was.
export function takeFromAddress() {
  const found = FRAGMENT.exec(location.hash);
  if (!found) return false;
  history.replaceState(history.state, "", location.pathname + location.search);
  return remember(decodeURIComponent(found[1]));
}

export function key() {
  return sessionStorage.getItem(NAME);
}

// Keep the key; false for what cannot be one.
export function remember(text) {
  const trimmed = text.trim();
  if (!PRINTABLE.test(trimmed)) return false;
  sessionStorage.setItem(NAME, trimmed);
  return true;
}
