// One open chat: its rows by REST, its turns by the socket, what is being sent.
//
// Rule of order: events count only after the `subscribed` that answers our newest `subscribe`; until then they
// belong to an older subscription. Whoever has been away loads rows first and subscribes where these end.

import { ApiError, api } from "./api.js";
import { memory } from "./dom.js";
import { applyChunk, mergeOlder, newTurn, turnsOfRows, userItem } from "./fold.js";

const PAGE = 50;
const ANSWER_WITHIN_MS = 10000;
const TRIES = 3;
const OUTBOX = "outbox";

export function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID(); // only where the page came over HTTPS or from this machine
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/**
 * Dispatches `change` (turns to show), `meta` (detail: the session), `started`, `ended` (detail: the turn),
 * `refused` (detail: {sessionId, text, reason, code, window, resetsAt}), `missing`, `failed` (detail: a sentence).
 */
export class Chat extends EventTarget {
  constructor(socket) {
    super();
    this.socket = socket;
    this.awaited = new Map(); // session id → subscribes that are not answered yet
    this.outbox = JSON.parse(memory.get("fd:outbox", "session") ?? "[]").map((entry) => ({ ...entry, tries: 0 }));
    this.ticket = 0;
    this.forget();
    socket.addEventListener("open", () => this.connected());
    socket.addEventListener("lost", () => this.lost());
    socket.addEventListener("frame", (event) => this.receive(event.detail));
  }

  forget() {
    this.sessionId = null;
    this.rows = [];
    this.turns = [];
    this.phase = "idle"; // idle, loading, waiting (for the socket), subscribing, live
    this.hasMore = false;
    this.newest = 0; // sequence of the newest row known
    this.early = []; // events of a turn whose `accepted` hasn't come yet
    this.isStopping = false;
    this.reloads = 0;
    clearTimeout(this.loadTimer);
    clearTimeout(this.subscribeTimer);
  }

  tell(type, detail = null) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  get activeTurn() {
    return this.turns.findLast((turn) => turn.status === "queued" || turn.status === "running") ?? null;
  }

  get isBusy() {
    return this.activeTurn !== null || this.turns.some((turn) => turn.status === "sending");
  }

  // Opening

  open(sessionId) {
    if (this.sessionId) this.socket.send({ type: "unsubscribe", session_id: this.sessionId });
    this.ticket += 1;
    this.forget();
    this.sessionId = sessionId;
    if (sessionId) this.load();
  }

  /** Go on in a chat that was made a moment ago and is empty. */
  adopt(sessionId) {
    this.ticket += 1;
    this.sessionId = sessionId;
    this.subscribe();
  }

  async load() {
    const ticket = (this.ticket += 1);
    clearTimeout(this.loadTimer);
    this.phase = "loading";
    try {
      const session = await api(`sessions/${this.sessionId}?limit=${PAGE}`);
      if (ticket !== this.ticket) return;
      this.takeRows(session);
      this.tell("meta", session);
      this.subscribe();
    } catch (error) {
      if (ticket !== this.ticket) return;
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 404) this.tell("missing");
      else {
        this.tell("failed", error.message);
        this.loadTimer = setTimeout(() => this.load(), 3000);
      }
    }
  }

  takeRows(session) {
    const page = session.messages;
    const first = page[0]?.sequence ?? 0;
    if (this.rows.length && page.length && this.newest >= first) {
      this.rows = [...this.rows.filter((row) => row.sequence < first), ...page];
    } else {
      this.rows = page;
      this.hasMore = session.has_more_messages;
    }
    this.newest = this.rows.at(-1)?.sequence ?? 0;
    this.turns = turnsOfRows(this.rows, session.active_stream);
    this.early = [];
    const stored = new Set(this.rows.map((row) => row.client_message_id).filter(Boolean));
    for (const entry of this.outbox) {
      if (entry.sessionId === this.sessionId && !stored.has(entry.clientId)) this.turns.push(sendingTurn(entry));
    }
    if (!session.active_stream) this.isStopping = false;
    this.tell("change");
  }

  async loadOlder() {
    if (!this.hasMore || this.olderRequest || !this.rows.length) return false;
    const { ticket, sessionId } = this;
    this.olderRequest = api(`sessions/${sessionId}?limit=${PAGE}&before_sequence=${this.rows[0].sequence}`);
    try {
      const page = await this.olderRequest;
      if (ticket !== this.ticket) return false;
      this.rows = [...page.messages, ...this.rows];
      this.hasMore = page.has_more_messages;
      const known = new Map(this.turns.map((turn) => [turn.id, turn]));
      const older = [];
      for (const turn of turnsOfRows(page.messages)) {
        const same = known.get(turn.id);
        if (same) mergeOlder(turn, same);
        else older.push(turn);
      }
      this.turns = [...older, ...this.turns];
      return true;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return false;
    } finally {
      this.olderRequest = null;
    }
  }

  // The socket

  connected() {
    for (const entry of this.outbox) if (entry.sessionId !== this.sessionId) this.post(entry);
    if (this.sessionId && this.phase !== "loading") this.subscribe();
  }

  lost() {
    this.awaited.clear();
    clearTimeout(this.subscribeTimer);
    for (const entry of this.outbox) clearTimeout(entry.timer);
    if (this.sessionId && this.phase !== "loading") this.phase = "waiting";
  }

  subscribe() {
    const frame = { type: "subscribe", session_id: this.sessionId };
    const active = this.activeTurn;
    if (active) frame.turn_id = active.id;
    if (active?.lastId) frame.after = active.lastId;
    if (!this.socket.send(frame)) {
      this.phase = "waiting";
      return;
    }
    this.phase = "subscribing";
    this.awaited.set(this.sessionId, (this.awaited.get(this.sessionId) ?? 0) + 1);
    clearTimeout(this.subscribeTimer);
    this.subscribeTimer = setTimeout(() => this.socket.renew(), ANSWER_WITHIN_MS);
  }

  receive(frame) {
    const handler = {
      subscribed: this.subscribed, event: this.event, accepted: this.accepted, queued: this.queued, error: this.error,
    }[frame.type];
    handler?.call(this, frame);
  }

  subscribed(frame) {
    const left = (this.awaited.get(frame.session_id) ?? 1) - 1;
    this.awaited.set(frame.session_id, left);
    if (frame.session_id !== this.sessionId || left > 0 || this.phase !== "subscribing") return;
    clearTimeout(this.subscribeTimer);
    const active = this.activeTurn;
    const theirs = frame.turn && ["queued", "running"].includes(frame.turn.status) ? frame.turn : null;
    const sameTurn = active?.id === theirs?.id;
    if (!sameTurn || (!theirs && frame.latest_sequence > this.newest)) {
      this.reload();
      return;
    }
    this.reloads = 0;
    this.phase = "live";
    for (const entry of this.outbox) if (entry.sessionId === this.sessionId) this.post(entry);
  }

  /** Load rows again, soon; slower when the last time didn't help. */
  reload() {
    this.phase = "loading";
    this.ticket += 1;
    clearTimeout(this.loadTimer);
    clearTimeout(this.subscribeTimer);
    const wait = this.reloads ? Math.min(4000, 250 * 2 ** this.reloads) : 0;
    this.reloads += 1;
    if (wait) this.loadTimer = setTimeout(() => this.load(), wait);
    else this.load();
  }

  event(frame) {
    if (frame.session_id !== this.sessionId || this.phase !== "live") return;
    const turn = this.turns.find((other) => other.id === frame.turn_id);
    if (!turn) {
      // Our own message's turn may speak before the message is confirmed; any other was started elsewhere.
      const isOurs = this.outbox.some((entry) => entry.sessionId === this.sessionId);
      if (isOurs) this.early.push(frame);
      else this.reload();
      return;
    }
    this.apply(turn, frame);
  }

  apply(turn, { chunk, event_id: eventId }) {
    const before = turn.status;
    if (!applyChunk(turn, chunk, eventId)) return;
    if (chunk.type === "start" && before !== "done") this.tell("started", turn);
    if (chunk.type === "finish") {
      this.isStopping = false;
      this.tell("ended", turn);
    }
    this.tell("change");
    if (chunk.type === "data-pending-drained") this.reload();
  }

  // Sending

  /** Send a message in the open chat. */
  send(text, clientId = uuid()) {
    const entry = { clientId, sessionId: this.sessionId, text, tries: 0 };
    this.outbox.push(entry);
    this.keepOutbox();
    this.turns.push(sendingTurn(entry));
    this.tell("change");
    if (this.phase === "live") this.post(entry);
  }

  post(entry) {
    clearTimeout(entry.timer);
    const sent = this.socket.send({
      type: "message", session_id: entry.sessionId, client_message_id: entry.clientId, message: entry.text,
    });
    if (!sent) return;
    entry.timer = setTimeout(() => {
      entry.tries += 1;
      if (entry.tries < TRIES) this.socket.renew();
      else this.giveBack(entry, { detail: "The server didn't answer. Your message is back in the box.", keepsId: true });
    }, ANSWER_WITHIN_MS);
  }

  take(clientId) {
    const entry = this.outbox.find((other) => other.clientId === clientId);
    if (!entry) return null;
    clearTimeout(entry.timer);
    this.outbox = this.outbox.filter((other) => other !== entry);
    this.keepOutbox();
    return entry;
  }

  keepOutbox() {
    const kept = this.outbox.map(({ clientId, sessionId, text }) => ({ clientId, sessionId, text }));
    memory.set(`fd:${OUTBOX}`, kept.length ? JSON.stringify(kept) : "", "session");
  }

  accepted({ client_message_id: clientId, turn_id: turnId }) {
    const entry = this.take(clientId);
    if (!entry || entry.sessionId !== this.sessionId) return;
    const turn = this.turns.find((other) => other.id === sendingId(clientId));
    const known = this.turns.some((other) => other.id === turnId);
    if (turn && known) this.turns = this.turns.filter((other) => other !== turn);
    else if (turn) {
      this.tell("renamed", { from: turn.id, to: turnId });
      turn.id = turnId;
      turn.status = "queued";
      Object.assign(turn.items[0], { state: "sent", version: turn.items[0].version + 1 });
      turn.version += 1;
    }
    this.replayEarly();
    this.tell("change");
  }

  queued({ client_message_id: clientId }) {
    const entry = this.take(clientId);
    const turn = entry && this.turns.find((other) => other.id === sendingId(clientId));
    if (!turn) return;
    turn.status = "done";
    Object.assign(turn.items[0], { state: "queued", version: turn.items[0].version + 1 });
    turn.version += 1;
    this.replayEarly();
    this.tell("change");
  }

  replayEarly() {
    const early = this.early;
    this.early = [];
    for (const frame of early) this.event(frame);
  }

  error(frame) {
    const entry = frame.client_message_id && this.take(frame.client_message_id);
    if (entry) this.giveBack(entry, frame);
    else if (frame.code === "stream_expired" && frame.session_id === this.sessionId) this.reload();
    else if (!frame.client_message_id && this.phase === "subscribing") {
      // The subscribe was refused; REST says why, or brings what is there by then.
      this.awaited.delete(this.sessionId);
      this.reload();
    } else if (!frame.client_message_id) {
      this.isStopping = false;
      this.tell("failed", frame.detail ?? "Something went wrong.");
      this.tell("change");
    }
  }

  giveBack(entry, { detail, code, window: limit, resets_at: resetsAt, keepsId = false }) {
    this.take(entry.clientId);
    this.turns = this.turns.filter((turn) => turn.id !== sendingId(entry.clientId));
    this.tell("refused", {
      sessionId: entry.sessionId, text: entry.text, reason: detail ?? "The message wasn't sent.", code, limit, resetsAt,
      clientId: keepsId ? entry.clientId : null,
    });
    this.replayEarly();
    this.tell("change");
    // Busy, although we saw no turn: what we show is old.
    if (entry.sessionId === this.sessionId && !this.activeTurn && /conflict|turn_in_flight/.test(code ?? "")) this.reload();
  }

  async stop() {
    if (!this.activeTurn || this.isStopping) return;
    const { sessionId } = this;
    this.isStopping = true;
    this.tell("change");
    if (!this.socket.send({ type: "stop", session_id: sessionId })) {
      try {
        await api(`sessions/${sessionId}/cancel`, { method: "POST", body: {} });
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        this.isStopping = false;
        this.tell("failed", error.message);
      }
    }
    clearTimeout(this.stopTimer);
    this.stopTimer = setTimeout(() => {
      if (!this.isStopping) return;
      this.isStopping = false; // asking again is allowed
      this.tell("change");
    }, ANSWER_WITHIN_MS);
  }
}

function sendingId(clientId) {
  return `sending:${clientId}`;
}

function sendingTurn({ clientId, text }) {
  const turn = newTurn(sendingId(clientId));
  turn.status = "sending";
  turn.items.push(userItem({ key: sendingId(clientId), text, clientId, state: "sending" }));
  return turn;
}
