// Shows what waits above the composer: in order, and it can be edited, moved and deleted.

import { announce, h, icon, setChildren } from "./dom.js";

const EXCERPT = 40;
const LIMIT = 64000;

function excerpt(text) {
  const line = text.trim().split("\n", 1)[0];
  return line.length > EXCERPT ? `${line.slice(0, EXCERPT - 1)}…` : line;
}

/** Dispatches `interrupted` (detail: the new wording of a message that was read while it was edited). */
export class Chips extends EventTarget {
  constructor(root, pending) {
    super();
    this.root = root;
    this.pending = pending;
    this.list = root.querySelector(".pending-list");
    this.title = root.querySelector("h2");
    this.note = root.querySelector(".pending-note");
    this.nodes = new Map();
    this.editing = null; // {key, box}
    this.isResting = false;
    pending.addEventListener("change", () => this.draw());
  }

  /** Say when they will be read: with the next message, or by the turn that runs. */
  setResting(isResting) {
    if (this.isResting === isResting) return;
    this.isResting = isResting;
    this.draw();
  }

  draw() {
    const { items } = this.pending;
    const movable = items.filter((item) => item.id && item.state === "waiting");
    const keys = new Set(items.map((item) => item.key));
    if (this.editing && !keys.has(this.editing.key)) this.interrupt();
    for (const key of this.nodes.keys()) if (!keys.has(key)) this.nodes.delete(key);
    const hadFocus = this.list.contains(document.activeElement) ? document.activeElement : null;
    setChildren(this.list, items.map((item) => this.chip(item, movable)));
    if (hadFocus && document.activeElement !== hadFocus) this.giveFocus(hadFocus);
    this.root.hidden = items.length === 0;
    this.title.textContent = items.length > 1 ? `Waiting (${items.length})` : "Waiting";
    const [they, them] = items.length > 1 ? ["They", "them"] : ["It", "it"];
    const words = this.isResting ? `${they} will be sent with your next message.` : `The copilot reads ${them} after its current step.`;
    if (this.note.textContent !== words) this.note.textContent = words;
    this.note.classList.toggle("is-resting", this.isResting);
  }

  giveFocus(element) {
    if (element.isConnected) element.focus();
    else if (this.list.firstElementChild) this.list.querySelector("button")?.focus();
    else document.getElementById("message").focus();
  }

  chip(item, movable) {
    let node = this.nodes.get(item.key);
    if (!node) {
      node = this.make(item.key);
      this.nodes.set(item.key, node);
    }
    node.element.dataset.state = item.state;
    if (node.text.textContent !== item.text) node.text.textContent = item.text;
    const files = item.fileIds?.length ?? 0;
    const withFiles = files ? `${files} ${files === 1 ? "file" : "files"}` : "";
    node.state.textContent = item.state === "sending" ? "Sending…" : withFiles;
    node.tools.hidden = !movable.includes(item) || this.editing?.key === item.key;
    const place = movable.indexOf(item);
    const canMove = movable.length > 1;
    const words = excerpt(item.text);
    for (const [name, label, isOff] of [
      ["up", "Move up", place === 0], ["down", "Move down", place === movable.length - 1], ["edit", "Edit"], ["delete", "Delete"],
    ]) {
      const button = node.buttons[name];
      button.setAttribute("aria-label", `${label}: ${words}`);
      if (isOff === undefined) continue;
      button.hidden = !canMove;
      button.setAttribute("aria-disabled", String(isOff)); // it keeps the focus at the end of the way
    }
    return node.element;
  }

  make(key) {
    const button = (name, sign, title, onclick) => h("button", { type: "button", class: "icon-button", title, "data-action": name, onclick }, icon(sign));
    const buttons = {
      up: button("up", "up", "Move up", () => this.move(key, -1)),
      down: button("down", "down", "Move down", () => this.move(key, 1)),
      edit: button("edit", "pencil", "Edit", () => this.edit(key)),
      delete: button("delete", "trash", "Delete", () => this.remove(key)),
    };
    const text = h("p", { class: "chip-text" });
    const state = h("span", { class: "chip-state" });
    const tools = h("div", { class: "chip-tools" }, ...Object.values(buttons));
    const element = h("li", { class: "chip" }, text, state, tools);
    return { element, text, state, tools, buttons };
  }

  movable() {
    return this.pending.items.filter((item) => item.id && item.state === "waiting");
  }

  async move(key, by) {
    const movable = this.movable();
    const place = movable.findIndex((item) => item.key === key) + by;
    if (place < 0 || place >= movable.length) return;
    announce(`Moved to place ${place + 1} of ${movable.length}`);
    await this.pending.move(key, place);
  }

  async remove(key) {
    const items = this.movable();
    const place = items.findIndex((item) => item.key === key);
    const next = items[place + 1] ?? items[place - 1];
    const done = this.pending.delete(key);
    if (next) this.nodes.get(next.key)?.buttons.delete.focus();
    else document.getElementById("message").focus();
    if (await done) announce("Deleted");
  }

  // Editing

  edit(key) {
    this.endEdit();
    const item = this.pending.find(key);
    const node = this.nodes.get(key);
    if (!item || !node) return;
    const box = h("textarea", { class: "chip-box", rows: "3", maxlength: String(LIMIT), "aria-label": "Waiting message" });
    box.value = item.text;
    const save = h("button", { type: "button", class: "button is-small is-primary", onclick: () => this.save() }, "Save");
    const cancel = h("button", { type: "button", class: "button is-small", onclick: () => this.endEdit(true) }, "Cancel");
    const editor = h("div", { class: "chip-editor" }, box, h("div", { class: "chip-editor-buttons" }, cancel, save));
    box.addEventListener("input", () => { save.disabled = !box.value.trim(); });
    editor.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        event.stopPropagation();
        this.endEdit(true);
      } else if (event.key === "Enter" && event.target === box && !event.shiftKey && !event.altKey && !event.isComposing) {
        event.preventDefault();
        this.save();
      }
    });
    this.editing = { key, box, editor, before: item.text };
    node.text.hidden = true;
    node.element.append(editor);
    this.draw();
    box.focus();
    box.setSelectionRange(box.value.length, box.value.length);
  }

  async save() {
    const { key, box, before } = this.editing;
    const text = box.value.trim();
    if (!text) return;
    this.endEdit(true);
    if (text === before) return;
    if (await this.pending.edit(key, text)) announce("Saved");
    else if (!this.pending.find(key)) this.giveBack(text);
  }

  endEdit(giveFocus = false) {
    if (!this.editing) return;
    const { key, editor } = this.editing;
    this.editing = null;
    editor.remove();
    const node = this.nodes.get(key);
    if (!node) return;
    node.text.hidden = false;
    this.draw();
    if (giveFocus) node.buttons.edit.focus();
  }

  /** It was read while somebody edited it: a new wording isn't thrown away. */
  interrupt() {
    const { box, before } = this.editing;
    const text = box.value.trim();
    this.editing = null;
    if (text && text !== before) this.giveBack(text);
  }

  giveBack(text) {
    this.dispatchEvent(new CustomEvent("interrupted", { detail: text }));
  }
}
