// The box one writes in.

import { h, icon, memory } from "./dom.js";

const LIMIT = 64000;
const WARN_AT = 60000;
const SAVE_AFTER_MS = 300;

/** Dispatches `send` (detail: {text, clientId, files}) and `stop`. */
export class Composer extends EventTarget {
  /** @param {import("./attachments.js").Attachments} attachments */
  constructor(form, attachments) {
    super();
    this.form = form;
    this.attachments = attachments;
    this.box = form.querySelector("textarea");
    this.sendButton = form.querySelector("#send");
    this.stopButton = form.querySelector("#stop");
    this.notice = document.getElementById("composer-notice");
    this.count = document.getElementById("composer-count");
    this.sessionId = null;
    this.canStop = false;
    this.early = this.box.value.trim(); // typed before this code ran
    this.saved = null; // what the stored draft holds, as far as is known here
    this.unconfirmed = null; // {text, clientId} of a message whose fate is unknown
    this.box.addEventListener("input", () => this.changed());
    this.box.addEventListener("keydown", (event) => {
      const plain = !event.shiftKey && !event.altKey && !event.isComposing && event.keyCode !== 229;
      if (event.key === "Enter" && plain) {
        event.preventDefault();
        this.submit();
      }
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.stopButton.addEventListener("click", () => this.dispatchEvent(new Event("stop")));
    form.addEventListener("click", (event) => {
      if (event.target === form || event.target.classList.contains("composer-bar")) this.focus();
    });
    attachments.addEventListener("change", () => this.changed({ typed: false }));
    attachments.addEventListener("problem", ({ detail }) => this.say(detail));
    window.addEventListener("pagehide", () => this.save());
    new ResizeObserver(([entry]) => {
      if (entry.contentRect.width === this.width) return;
      this.width = entry.contentRect.width;
      this.resize();
    }).observe(this.box);
  }

  get text() {
    return this.box.value;
  }

  draftKey(sessionId = this.sessionId) {
    return `fd:draft:${sessionId ?? "new"}`;
  }

  /** Turn to another chat: this one's draft is kept, the other's shown. */
  turnTo(sessionId, { keepText = false } = {}) {
    if (!keepText && this.saved !== null) this.save();
    this.sessionId = sessionId;
    this.attachments.turnTo(sessionId, { keep: keepText });
    if (keepText) {
      this.saved = "";
      return;
    }
    this.saved = memory.get(this.draftKey()) ?? "";
    this.box.value = this.saved.includes(this.early) ? this.saved : [this.saved, this.early].filter(Boolean).join("\n\n");
    this.early = "";
    this.say("");
    this.changed({ typed: false });
  }

  save() {
    clearTimeout(this.saveTimer);
    if (this.box.value === this.saved) return; // another tab may have a newer one
    this.saved = this.box.value;
    memory.set(this.draftKey(), this.saved);
  }

  changed({ typed = true } = {}) {
    this.resize();
    const { length } = this.text.trim();
    this.sendButton.disabled = length === 0 || length > LIMIT || this.attachments.isUploading;
    this.sendButton.hidden = this.canStop && length === 0;
    this.count.hidden = length < WARN_AT;
    this.count.textContent = length > LIMIT
      ? `${(length - LIMIT).toLocaleString()} characters too many (the limit is ${LIMIT.toLocaleString()}).`
      : `${(LIMIT - length).toLocaleString()} characters left`;
    this.count.classList.toggle("is-error", length > LIMIT);
    if (typed) {
      this.say("");
      clearTimeout(this.saveTimer);
      this.saveTimer = setTimeout(() => this.save(), SAVE_AFTER_MS);
    }
  }

  resize() {
    this.box.style.height = "auto";
    this.box.style.height = `${this.box.scrollHeight}px`;
  }

  submit() {
    const text = this.text.trim();
    if (!text || text.length > LIMIT) return;
    if (this.attachments.isUploading) {
      this.say("Your files are still uploading. Send when they are here.", "note");
      return;
    }
    const files = this.attachments.take();
    const clientId = this.unconfirmed?.text === text ? this.unconfirmed.clientId : undefined;
    this.unconfirmed = null;
    this.set("");
    this.dispatchEvent(new CustomEvent("send", { detail: { text, clientId, files } }));
  }

  set(text) {
    this.box.value = text;
    this.say("");
    this.changed({ typed: false });
    this.save();
  }

  /** Put back what wasn't sent, before whatever was typed since. */
  giveBack(text, clientId, reason, files = []) {
    if (files.length) this.attachments.giveBack(files);
    this.set(this.text.trim() ? `${text}\n\n${this.text}` : text);
    this.unconfirmed = clientId ? { text, clientId } : null;
    this.say(reason, "error");
    this.focus();
  }

  say(text, kind = "error") {
    this.notice.hidden = !text;
    this.notice.className = `composer-notice is-${kind}`;
    if (text) this.notice.replaceChildren(icon(kind === "error" ? "alert" : "info"), h("span", {}, text));
    else this.notice.replaceChildren();
  }

  /** Show stop while there is something to stop; what is sent then waits. */
  setBusy({ canStop, isStopping }) {
    const hadFocus = document.activeElement === this.stopButton;
    this.canStop = canStop;
    this.stopButton.hidden = !canStop;
    this.sendButton.hidden = canStop && !this.text.trim();
    this.stopButton.setAttribute("aria-disabled", String(isStopping));
    this.stopButton.classList.toggle("is-waiting", isStopping);
    relabel(this.stopButton, isStopping ? "Stopping…" : "Stop answering");
    relabel(this.sendButton, canStop ? "Send when the copilot is ready for it" : "Send");
    if (hadFocus && !canStop) this.focus();
  }

  focus() {
    this.box.focus();
  }
}

function relabel(button, label) {
  if (button.title === label) return;
  button.setAttribute("aria-label", label);
  button.title = label;
}
