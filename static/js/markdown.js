// Markdown that grows: finished blocks are rendered once, only the last one again.

import { Marked } from "../vendor/marked/marked.esm.js";
import DOMPurify from "../vendor/dompurify/purify.es.js";
import { h, icon } from "./dom.js";
import { resolved } from "./files.js";

const escapeHtml = (text) => text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);

// Tags in a line that mean something; any other is shown as it was written.
const PLAIN_TAG = /^<\/?(?:abbr|b|br|code|del|em|i|kbd|s|strong|sub|sup|u)\s*\/?>$/i;

const marked = new Marked({
  gfm: true,
  // Blocks of raw HTML would swallow finished blocks while they grow; a few tags inside a line stay possible.
  tokenizer: { html: () => undefined },
  renderer: {
    heading({ tokens, depth }) {
      const level = Math.min(6, depth + 2); // h1 and h2 belong to the page
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>\n`;
    },
    link({ href, tokens }) {
      const own = resolved(href);
      return own === href ? false : `<a href="${escapeHtml(own)}">${this.parser.parseInline(tokens)}</a>`;
    },
    image({ href, text }) {
      const own = resolved(href);
      if (own !== href) return `<a href="${escapeHtml(own)}" class="own-image">${escapeHtml(text || "Image")}</a>`;
      // Never loaded by itself: a picture's address can carry what was said here to another host.
      return `<a href="${escapeHtml(href)}">${escapeHtml(text || "Image")} (image)</a>`;
    },
    html({ text }) {
      return PLAIN_TAG.test(text) ? text : escapeHtml(text);
    },
    checkbox({ checked }) {
      return `<span class="tick">${checked ? "☑" : "☐"}</span> `;
    },
  },
});

const purifier = DOMPurify(window);
purifier.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName === "A" && node.hasAttribute("href")) {
    node.setAttribute("target", "_blank");
    node.setAttribute("rel", "noopener noreferrer");
  }
  if (node.hasAttribute?.("class") && !/^(language-[\w+#.-]+|tick|own-image)$/.test(node.className)) {
    node.removeAttribute("class");
  }
});
const RULES = {
  ALLOWED_TAGS: [
    "a", "abbr", "b", "blockquote", "br", "code", "del", "div", "em", "h3", "h4", "h5", "h6", "hr", "i", "kbd", "li",
    "ol", "p", "pre", "s", "span", "strong", "sub", "sup", "table", "tbody", "td", "th", "thead", "tr", "u", "ul",
  ],
  ALLOWED_ATTR: ["href", "title", "class", "align", "start"],
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:|\/(?!\/)|#)/i,
  ADD_URI_SAFE_ATTR: ["align", "start"], // else their values would have to look like addresses
  RETURN_DOM_FRAGMENT: true,
};

/** Show a picture of the person's own workspace, which tells no other host anything. */
function showImage(link) {
  const image = h("img", { src: link.getAttribute("href"), alt: link.textContent, loading: "lazy" });
  image.addEventListener("error", () => image.replaceWith(image.alt)); // gone, or no picture at all
  link.replaceChildren(image);
}

/** Return one token as sanitised nodes. */
function nodesOf(token) {
  const fragment = purifier.sanitize(marked.parser([token]), RULES);
  for (const code of fragment.querySelectorAll("pre > code")) dressCode(code);
  for (const link of fragment.querySelectorAll("a.own-image")) showImage(link);
  for (const table of fragment.querySelectorAll("table")) {
    const frame = h("div", { class: "table-frame" });
    table.replaceWith(frame);
    frame.append(table);
  }
  return [...fragment.childNodes].filter((node) => node.nodeType !== Node.TEXT_NODE || node.data.trim());
}

function dressCode(code) {
  const language = /language-(\S+)/.exec(code.className)?.[1] ?? "";
  const pre = code.parentElement;
  const frame = h("div", { class: "code" });
  pre.replaceWith(frame);
  const button = h("button", { type: "button", class: "copy", "data-copy": "code", "aria-label": "Copy code" },
    icon("copy", "when-idle"), icon("check", "when-copied"));
  frame.append(h("div", { class: "code-head" }, h("span", {}, language || "text"), button), pre);
}

/** Give what scrolls sideways a place in the tab order. */
function markScrollers(root) {
  for (const element of root.querySelectorAll("pre, .table-frame")) {
    if (element.scrollWidth > element.clientWidth) {
      element.tabIndex = 0;
      element.setAttribute("role", "group");
      element.setAttribute("aria-label", element.tagName === "PRE" ? "Code" : "Table");
    }
  }
}

export class MarkdownView {
  constructor(element) {
    this.element = element;
    this.reset();
  }

  reset() {
    this.text = "";
    this.done = 0; // characters whose blocks are finished
    this.tail = [];
    this.tailToken = null;
    this.hasReferences = false;
    this.element.replaceChildren();
  }

  /** Show this text, which most often continues the last one; `complete` when nothing more comes. */
  update(source, complete) {
    const text = source.replaceAll("\r", "");
    if (!text.startsWith(this.text)) this.reset();
    this.text = text;
    const pending = text.slice(this.done);
    const tokens = marked.lexer(pending);
    this.hasReferences ||= Object.keys(tokens.links).length > 0;
    const last = tokens.findLastIndex((token) => token.type !== "space" && token.type !== "def");
    if (last < 0) return;
    const places = placesOf(pending, tokens, last);
    if (places === null || (complete && this.hasReferences)) {
      // Links by reference may stand before what they refer to: all of it at once, when it is whole.
      this.showWhole(text);
    } else {
      for (const token of tokens.slice(0, last)) this.finish(token);
      this.showTail(tokens[last]);
      this.done += places[last];
    }
    if (complete) requestAnimationFrame(() => markScrollers(this.element));
  }

  finish(token) {
    if (token.type === "space" || token.type === "def") return;
    this.showTail(token);
    this.tail = [];
    this.tailToken = null;
  }

  showTail(token) {
    const before = this.tailToken;
    this.tailToken = token;
    if (before?.type === "code" && token.type === "code" && before.lang === token.lang && this.grow(before, token)) return;
    const nodes = nodesOf(token);
    for (const node of this.tail) node.remove();
    this.element.append(...nodes);
    this.tail = nodes;
  }

  /** Append to a code block that is being written, instead of making it anew. */
  grow(before, token) {
    const text = this.tail[0]?.querySelector("code")?.firstChild;
    const now = `${token.text.replace(/\n$/, "")}\n`;
    if (!text || !now.startsWith(text.data.trimEnd()) || before.text.length > token.text.length) return false;
    const kept = text.data.trimEnd().length;
    text.replaceData(kept, text.data.length - kept, now.slice(kept));
    return true;
  }

  showWhole(text) {
    const tokens = marked.lexer(text);
    this.element.replaceChildren(...tokens.flatMap((token) => (token.type === "space" ? [] : nodesOf(token))));
    this.tail = [...this.element.childNodes];
    this.tailToken = null;
    this.done = 0;
  }
}

/** Where each token up to the last one begins in the text; null when that can't be told. */
function placesOf(text, tokens, last) {
  const places = [];
  let position = 0;
  for (const token of tokens.slice(0, last)) {
    const found = text.indexOf(token.raw, position);
    if (found < 0 || text.slice(position, found).trim() !== "") return null;
    places.push(found);
    position = found + token.raw.length;
  }
  // The parser tidies the raw text of a list that is being written; where it begins is what counts.
  places.push(position + /^(?:[ \t]*\n)*/.exec(text.slice(position))[0].length);
  return places;
}
