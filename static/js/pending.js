// Messages that wait until the copilot reads them. No DOM here.
//
// The server's list is the whole truth each time it comes. Around it are those that this tab has sent and the list
// doesn't name yet, and those that have left the list and aren't in the transcript yet: nothing is ever out of sight.

import { ApiError, api } from "./api.js";

const SETTLE_WITHIN_MS = 3000;
const LEAVE_WITHIN_MS = 2000;

/**
 * Make items of what the server says of a chat's waiting messages.
 *
 * @param {{items?: object[], messages?: string[]}} truth
 */
export function itemsOf({ items, messages = [] }) {
  if (!items) {
    return messages.map((text, place) => ({ key: `place:${place}`, id: null, clientId: null, text, fileIds: [], state: "waiting" }));
  }
  return items.map(({ id, client_message_id: clientId, content, file_ids: fileIds }) => ({
    key: clientId ?? id, id, clientId: clientId ?? null, text: content, fileIds: fileIds ?? [], state: "waiting",
  }));
}

/** Join the server's list with what is on its way to it, and from it into the transcript. */
export function joined(known, truth) {
  const keys = new Set(truth.map((item) => item.key));
  const others = known.filter((item) => !keys.has(item.key));
  const leaving = others.filter((item) => item.id && (item.state === "waiting" || item.state === "leaving"));
  return [
    ...leaving.map((item) => ({ ...item, state: "leaving" })),
    ...truth,
    ...others.filter((item) => item.state === "sending" || item.state === "sent"),
  ];
}

/**
 * Take out what the copilot has read.
 *
 * @param {object[]} known
 * @param {{count: number, messages?: object[]}} data  of `data-pending-drained`
 * @returns {{messages: ?object[], left: object[]}} messages is null where nobody can tell what was read
 */
export function drained(known, { count, messages }) {
  const left = [...known];
  if (!messages) {
    const read = left.splice(0, count);
    if (read.length < count) return { messages: null, left };
    return { messages: read.map((item) => withFiles({ content: item.text, client_message_id: item.clientId }, item)), left };
  }
  const told = messages.map((message) => {
    const same = left.findIndex((item) => item.clientId && item.clientId === message.client_message_id);
    const alike = left.findIndex((item) => !(item.clientId && message.client_message_id) && item.text === message.content);
    const place = same >= 0 ? same : alike;
    return place >= 0 ? withFiles(message, left.splice(place, 1)[0]) : message;
  });
  return { messages: told, left };
}

function withFiles(message, { fileIds = [] }) {
  return fileIds.length && !message.file_ids ? { ...message, file_ids: fileIds } : message;
}

/** Dispatches `change`, `failed` (detail: a sentence) and `read` (the copilot was quicker than an action here). */
export class Pending extends EventTarget {
  constructor() {
    super();
    this.open(null);
  }

  open(sessionId) {
    clearTimeout(this.settleTimer);
    clearTimeout(this.leaveTimer);
    this.sessionId = sessionId;
    this.deleted = new Set(); // keys that an older list may still name
    this.set([]);
  }

  set(items) {
    this.items = items;
    this.dispatchEvent(new Event("change"));
  }

  /** Whether messages wait on the server, as far as is known here. */
  get isWaiting() {
    return this.items.some((item) => item.state !== "sending");
  }

  get isLeaving() {
    return this.items.some((item) => item.state === "leaving");
  }

  find(key) {
    return this.items.find((item) => item.key === key) ?? null;
  }

  add({ clientId, text, files = [] }) {
    if (this.find(clientId)) return;
    this.set([...this.items, { key: clientId, id: null, clientId, text, fileIds: files.map((file) => file.id), state: "sending" }]);
  }

  remove(key) {
    if (this.find(key)) this.set(this.items.filter((item) => item.key !== key));
  }

  change(key, fields) {
    this.set(this.items.map((item) => (item.key === key ? { ...item, ...fields } : item)));
  }

  /** The server has it; its list names it soon. */
  sent(clientId) {
    if (this.find(clientId)?.state !== "sending") return;
    this.change(clientId, { state: "sent" });
    clearTimeout(this.settleTimer);
    this.settleTimer = setTimeout(() => {
      if (this.items.some((item) => item.state === "sent")) this.load();
    }, SETTLE_WITHIN_MS);
  }

  /**
   * Take in the server's list.
   *
   * @param {boolean} isFresh  whether everything that was confirmed here must be in it
   */
  take(truth, isFresh = false) {
    let known = isFresh ? this.items.filter((item) => item.state !== "sent") : this.items;
    if (truth.items) known = known.filter((item) => !item.key.startsWith("place:"));
    const items = joined(known, itemsOf(truth).filter((item) => !this.deleted.has(item.key)));
    clearTimeout(this.leaveTimer);
    this.set(items);
    if (this.isLeaving) this.leaveTimer = setTimeout(() => this.dropLeaving(), LEAVE_WITHIN_MS);
  }

  dropLeaving() {
    if (this.isLeaving) this.set(this.items.filter((item) => item.state !== "leaving"));
  }

  /** Rows were loaded: what they hold doesn't wait any more. */
  stored(clientIds) {
    const left = this.items.filter((item) => item.state !== "leaving" && !clientIds.has(item.clientId));
    if (left.length !== this.items.length) this.set(left);
  }

  get path() {
    return `sessions/${this.sessionId}/messages/pending`;
  }

  async load() {
    const { sessionId } = this;
    if (!sessionId) return;
    try {
      const truth = await api(this.path);
      if (sessionId === this.sessionId) this.take(truth, true);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error; // the socket's next list will tell
    }
  }

  /** Change the text; false when it couldn't be changed. */
  edit(key, text) {
    this.change(key, { text });
    return this.ask(key, { method: "PATCH", body: { content: text } });
  }

  /** Move to a place among those that wait, counted from 0. */
  move(key, place) {
    const item = this.find(key);
    const others = this.items.filter((other) => other !== item);
    const before = this.items.filter((other) => other.state === "leaving").length;
    others.splice(before + place, 0, item);
    this.set(others);
    return this.ask(key, { method: "PATCH", body: { position: place } });
  }

  delete(key) {
    const item = this.find(key);
    this.deleted.add(key);
    this.remove(key);
    return this.ask(key, { method: "DELETE" }, item);
  }

  async ask(key, request, item = this.find(key)) {
    const { sessionId } = this;
    try {
      await api(`${this.path}/${item.id}`, request);
      return true;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (sessionId !== this.sessionId) return false;
      this.deleted.delete(key);
      if (error.status === 404) {
        this.remove(key);
        this.dispatchEvent(new Event("read"));
      } else {
        this.dispatchEvent(new CustomEvent("failed", { detail: error.message }));
        await this.load();
      }
      return false;
    }
  }
}
