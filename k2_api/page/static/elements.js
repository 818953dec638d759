// Elements of the page. Whatever comes from the API becomes text, never markup.

export const byId = (id) => document.getElementById(id);

// A new element; strings among its children become text.
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

// What an element shows from now on.
export function show(id, ...children) {
  const shown = byId(id);
  shown.replaceChildren(...children);
  shown.hidden = children.length === 0;
}
