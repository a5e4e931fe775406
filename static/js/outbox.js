// Messages that the server hasn't confirmed. They outlive a reload of the tab.

import { memory } from "./dom.js";
import { newTurn, userItem } from "./fold.js";

const OUTBOX = "fd:outbox";

export function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID(); // only where the page came over HTTPS or from this machine
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

export class Outbox {
  constructor() {
    this.entries = JSON.parse(memory.get(OUTBOX, "session") ?? "[]").map((entry) => ({ ...entry, tries: 0 }));
  }

  /** Return the unconfirmed messages of a chat, oldest first. */
  of(sessionId) {
    return this.entries.filter((entry) => entry.sessionId === sessionId);
  }

  add(fields) {
    const entry = { ...fields, tries: 0 };
    this.entries.push(entry);
    this.keep();
    return entry;
  }

  /** Take out a message whose fate is known; null when it was taken before. */
  take(clientId) {
    const entry = this.entries.find((other) => other.clientId === clientId);
    if (!entry) return null;
    clearTimeout(entry.timer);
    this.entries = this.entries.filter((other) => other !== entry);
    this.keep();
    return entry;
  }

  keep() {
    const kept = this.entries.map(
      ({ clientId, sessionId, text, files, mode, model }) => ({ clientId, sessionId, text, files, mode, model }),
    );
    memory.set(OUTBOX, kept.length ? JSON.stringify(kept) : "", "session");
  }
}

/** Return the ids of files. */
export function idsOf(files) {
  return (files ?? []).map((file) => file.id);
}

export function sendingId(clientId) {
  return `sending:${clientId}`;
}

/** Return the turn that a message begins, as long as only this tab knows of it. */
export function sendingTurn({ clientId, text, files = [] }) {
  const turn = newTurn(sendingId(clientId));
  turn.status = "sending";
  turn.items.push(userItem({ key: sendingId(clientId), text, clientId, state: "sending", fileIds: idsOf(files) }));
  return turn;
}
