// Small helpers for making and moving elements.

const SVG = "http://www.w3.org/2000/svg";

/** Make an element: `h("p", {class: "x", onclick: f}, "text", child)`. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** An icon of the page's sprite; decoration only. */
export function icon(name, extra = "") {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", `icon ${extra}`.trim());
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** Make `parent`'s children exactly these, moving as little as possible, so that focus and selection stay. */
export function setChildren(parent, wanted) {
  const keep = new Set(wanted);
  for (const child of [...parent.childNodes]) if (!keep.has(child)) child.remove();
  let place = parent.firstChild;
  for (const node of wanted) {
    if (node === place) place = place.nextSibling;
    else parent.insertBefore(node, place);
  }
}

/** Say something to screen readers, politely. */
export function announce(text) {
  const region = document.getElementById("announcer");
  if (region) region.textContent = region.textContent === text ? `${text}\u00a0` : text;
}

/** Show a short message at the bottom, with at most one action; returns a function that takes it away. */
export function toast(text, { action = null, onAction = null, ms = 5000 } = {}) {
  const shelf = document.getElementById("toasts");
  const close = () => {
    clearTimeout(timer);
    note.remove();
  };
  const note = h("div", { class: "toast" }, h("span", {}, text));
  if (action) {
    note.append(h("button", { type: "button", class: "toast-action", onclick: () => { close(); onAction(); } }, action));
  }
  const timer = setTimeout(close, ms);
  shelf.append(note);
  announce(text);
  return close;
}

/** Copy text and say so on the button. */
export async function copyText(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = h("textarea", { class: "sr-only", readonly: true });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  button.classList.add("is-copied");
  announce("Copied");
  setTimeout(() => button.classList.remove("is-copied"), 1600);
}

/** What this browser remembers; silent where storage is blocked or full. */
export const memory = {
  get(key, kind = "local") {
    try { return window[`${kind}Storage`].getItem(key); } catch { return null; }
  },
  set(key, value, kind = "local") {
    try {
      if (value) window[`${kind}Storage`].setItem(key, value);
      else window[`${kind}Storage`].removeItem(key);
    } catch { /* nothing is lost but a convenience */ }
  },
};
