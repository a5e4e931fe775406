// The files that go with the next message: chosen, dropped or pasted; they upload while one writes.

import { ApiError, filesApi, upload } from "./api.js";
import { announce, h, icon, setChildren } from "./dom.js";
import { isImage, remember, sizeWords } from "./files.js";

const MOST = 20;

/** Dispatches `change`, and `problem` (detail: a sentence). */
export class Attachments extends EventTarget {
  /** @param {{form: HTMLElement, dropZone: HTMLElement, fileLimit: number}} places */
  constructor({ form, dropZone, fileLimit }) {
    super();
    this.list = form.querySelector("#attachments");
    this.button = form.querySelector("#attach");
    this.fileLimit = fileLimit;
    this.kept = new Map(); // session id, or null for a new chat → its files
    this.sessionId = null;
    const input = form.querySelector("#attach-input");
    this.button.addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      this.add(input.files);
      input.value = "";
    });
    form.querySelector("textarea").addEventListener("paste", (event) => {
      if (!event.clipboardData.files.length) return;
      event.preventDefault();
      this.add(event.clipboardData.files);
    });
    this.listenForDrops(dropZone);
  }

  listenForDrops(zone) {
    const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
    zone.addEventListener("dragover", (event) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      zone.classList.add("is-dropping");
    });
    zone.addEventListener("dragleave", (event) => {
      if (!zone.contains(event.relatedTarget)) zone.classList.remove("is-dropping");
    });
    zone.addEventListener("drop", (event) => {
      zone.classList.remove("is-dropping");
      if (!holdsFiles(event)) return;
      event.preventDefault();
      this.add(event.dataTransfer.files);
    });
  }

  get entries() {
    return this.kept.get(this.sessionId) ?? [];
  }

  get isUploading() {
    return this.entries.some((entry) => entry.state === "uploading");
  }

  /** Turn to another chat, with its own files; `keep` takes those of the new chat along, which has just become one. */
  turnTo(sessionId, { keep = false } = {}) {
    if (keep) {
      this.kept.set(sessionId, this.entries);
      this.kept.delete(this.sessionId);
    }
    this.sessionId = sessionId;
    this.changed();
  }

  add(files) {
    const room = MOST - this.entries.length;
    const chosen = [...files];
    if (chosen.length > room) this.problem(`A message takes at most ${MOST} files.`);
    for (const file of chosen.slice(0, Math.max(0, room))) {
      if (file.size > this.fileLimit) this.problem(`${file.name} is too large: a file may have ${sizeWords(this.fileLimit)}.`);
      else this.start(file);
    }
  }

  async start(file) {
    const stop = new AbortController();
    const entry = { name: file.name, state: "uploading", done: 0, stop, file: null, preview: "" };
    if (isImage(file.type)) entry.preview = URL.createObjectURL(file);
    const { sessionId } = this;
    this.kept.set(sessionId, [...this.entries, entry]);
    this.changed();
    try {
      entry.file = await upload(file, {
        sessionId, signal: stop.signal,
        onProgress: (part) => {
          entry.done = Math.round(part * 100);
          if (entry.progress) entry.progress.value = entry.done;
        },
      });
      entry.state = "ready";
      remember(entry.file);
      announce(`${entry.name} is attached.`);
      this.changed();
    } catch (error) {
      this.drop(entry);
      if (error.name === "AbortError") return;
      if (!(error instanceof ApiError)) throw error;
      this.problem(`${entry.name} wasn’t attached. ${error.message}`);
    }
  }

  drop(entry) {
    for (const [sessionId, entries] of this.kept) this.kept.set(sessionId, entries.filter((other) => other !== entry));
    if (entry.preview) URL.revokeObjectURL(entry.preview);
    this.changed();
  }

  /** Take one back: what was uploaded for this message only is deleted. */
  remove(entry) {
    const place = this.entries.indexOf(entry);
    entry.stop?.abort();
    this.drop(entry);
    announce(`${entry.name} was removed.`);
    const next = this.entries[Math.min(place, this.entries.length - 1)];
    (next?.element.querySelector("button") ?? this.button).focus();
    if (entry.file && entry.stop) filesApi(`files/${entry.file.id}`, { method: "DELETE" }).catch(() => {});
  }

  /** Hand over the files for a message that is being sent. */
  take() {
    const files = this.entries.filter((entry) => entry.file).map((entry) => entry.file);
    for (const entry of this.entries) if (entry.preview) URL.revokeObjectURL(entry.preview);
    this.kept.set(this.sessionId, []);
    this.changed();
    return files;
  }

  /** Put the files of a message back that wasn't sent. */
  giveBack(files) {
    const entries = files.map((file) => ({ name: file.name ?? "File", state: "ready", done: 100, stop: null, file, preview: "" }));
    this.kept.set(this.sessionId, [...entries, ...this.entries].slice(0, MOST));
    this.changed();
  }

  problem(sentence) {
    this.dispatchEvent(new CustomEvent("problem", { detail: sentence }));
  }

  changed() {
    setChildren(this.list, this.entries.map((entry) => this.draw(entry)));
    this.list.hidden = this.entries.length === 0;
    this.dispatchEvent(new Event("change"));
  }

  draw(entry) {
    if (!entry.element) {
      const picture = entry.preview ? h("img", { src: entry.preview, alt: "", width: "40", height: "40" }) : icon("file");
      entry.progress = h("progress", { max: "100", value: String(entry.done), "aria-label": `Uploading ${entry.name}` });
      const remove = h("button", {
        type: "button", class: "icon-button", "aria-label": `Remove ${entry.name}`, title: "Remove", onclick: () => this.remove(entry),
      }, icon("close"));
      entry.element = h("li", { class: "attachment" }, picture, h("span", { class: "attachment-name" }, entry.name), entry.progress, remove);
    }
    entry.element.dataset.state = entry.state;
    entry.progress.hidden = entry.state !== "uploading";
    return entry.element;
  }
}
