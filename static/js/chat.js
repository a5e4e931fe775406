// One open chat: its rows by REST, its turns by the socket, what is being sent.
//
// Rule of order: events count only after the `subscribed` that answers our newest `subscribe`; until then they
// belong to an older subscription. Whoever has been away loads rows first and subscribes where these end.

import { ApiError, api } from "./api.js";
import { applyChunk, mergeOlder, turnsOfRows } from "./fold.js";
import { Outbox, idsOf, sendingId, sendingTurn, uuid } from "./outbox.js";
import { Pending, drained } from "./pending.js";

const PAGE = 50;
const ANSWER_WITHIN_MS = 10000;
const TRIES = 3;

/**
 * Dispatches `change` (turns to show), `meta` (detail: the session), `started`, `ended` (detail: the turn),
 * `queued`, `drained` (detail: how many), `refused` (detail: {sessionId, text, files, reason, code, limit, resetsAt}),
 * `missing`, `failed` (detail: a sentence). What waits is in `pending`, which tells of its own changes.
 */
export class Chat extends EventTarget {
  constructor(socket) {
    super();
    this.socket = socket;
    this.awaited = new Map(); // session id → subscribes that are not answered yet
    this.outbox = new Outbox();
    this.pending = new Pending();
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
    this.pending.open(sessionId);
    if (sessionId) this.load();
  }

  /** Go on in a chat that was made a moment ago and is empty. */
  adopt(sessionId) {
    this.ticket += 1;
    this.sessionId = sessionId;
    this.pending.open(sessionId);
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
    this.pending.stored(stored);
    for (const entry of this.outbox.of(this.sessionId)) if (!stored.has(entry.clientId)) this.place(entry);
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
    for (const entry of this.outbox.entries) if (entry.sessionId !== this.sessionId) this.post(entry);
    if (this.sessionId && this.phase !== "loading") this.subscribe();
  }

  lost() {
    this.awaited.clear();
    clearTimeout(this.subscribeTimer);
    for (const entry of this.outbox.entries) clearTimeout(entry.timer);
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
      pending: this.waiting,
    }[frame.type];
    handler?.call(this, frame);
  }

  subscribed(frame) {
    const left = (this.awaited.get(frame.session_id) ?? 1) - 1;
    this.awaited.set(frame.session_id, left);
    if (frame.session_id !== this.sessionId || left > 0 || this.phase !== "subscribing") return;
    clearTimeout(this.subscribeTimer);
    if (frame.pending) this.takePending(frame.pending, true);
    const active = this.activeTurn;
    const theirs = frame.turn && ["queued", "running"].includes(frame.turn.status) ? frame.turn : null;
    const sameTurn = active?.id === theirs?.id;
    if (!sameTurn || (!theirs && frame.latest_sequence > this.newest)) {
      this.reload();
      return;
    }
    this.reloads = 0;
    this.phase = "live";
    for (const entry of this.outbox.of(this.sessionId)) this.post(entry);
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
      if (this.outbox.of(this.sessionId).length) this.early.push(frame);
      else this.reload();
      return;
    }
    this.apply(turn, frame);
  }

  apply(turn, { chunk, event_id: eventId }) {
    if (chunk.type === "data-pending-drained") {
      this.drain(turn, chunk, eventId);
      return;
    }
    const before = turn.status;
    if (!applyChunk(turn, chunk, eventId)) return;
    if (chunk.type === "start" && before !== "done") this.tell("started", turn);
    if (chunk.type === "finish") {
      this.isStopping = false;
      this.tell("ended", turn);
      this.showLeft();
    }
    this.tell("change");
  }

  drain(turn, chunk, eventId) {
    const { messages, left } = drained(this.pending.items, chunk.data);
    if (!applyChunk(turn, { ...chunk, data: { ...chunk.data, messages: messages ?? [] } }, eventId)) return;
    this.pending.set(left);
    this.tell("drained", chunk.data.count);
    this.tell("change");
    if (!messages) this.reload(); // the rows say what was read
  }

  waiting(frame) {
    if (frame.session_id !== this.sessionId) return;
    this.takePending(frame);
    if (!this.activeTurn) this.showLeft();
  }

  takePending(truth, isFresh = false) {
    this.pending.take(truth, isFresh);
    for (const { clientId } of this.outbox.of(this.sessionId)) {
      if (this.pending.find(clientId)?.id) this.queued({ client_message_id: clientId });
    }
  }

  /** What left the list and wasn't read in a turn that is known here began the next one. */
  showLeft() {
    if (this.phase === "live" && this.pending.isLeaving) this.reload();
  }

  // Sending

  /**
   * Send a message in the open chat; it waits when a turn runs.
   *
   * @param {{clientId?: string, files?: object[], mode?: string, model?: string}} options
   */
  send(text, { clientId = uuid(), files = [], mode, model } = {}) {
    const entry = this.outbox.add({ clientId, sessionId: this.sessionId, text, files, mode, model });
    this.place(entry);
    this.tell("change");
    if (this.phase === "live") this.post(entry);
  }

  /** Show an unconfirmed message: below the others, or among those that wait. */
  place(entry) {
    if (this.isBusy) this.pending.add(entry);
    else {
      this.pending.remove(entry.clientId);
      this.turns.push(sendingTurn(entry));
    }
  }

  post(entry) {
    clearTimeout(entry.timer);
    const sent = this.socket.send({
      type: "message", session_id: entry.sessionId, client_message_id: entry.clientId, message: entry.text,
      mode: entry.mode, model: entry.model, ...(entry.files?.length ? { file_ids: idsOf(entry.files) } : {}),
    });
    if (!sent) return;
    entry.timer = setTimeout(() => {
      entry.tries += 1;
      if (entry.tries < TRIES) this.socket.renew();
      else this.giveBack(entry, { detail: "The server didn't answer. Your message is back in the box.", keepsId: true });
    }, ANSWER_WITHIN_MS);
  }

  accepted({ client_message_id: clientId, turn_id: turnId }) {
    const entry = this.outbox.take(clientId);
    if (!entry || entry.sessionId !== this.sessionId) return;
    this.pending.remove(clientId);
    let turn = this.sending(clientId);
    const known = this.turns.some((other) => other.id === turnId);
    if (known) this.turns = this.turns.filter((other) => other !== turn);
    else {
      if (!turn) this.turns.push((turn = sendingTurn(entry)));
      this.tell("renamed", { from: turn.id, to: turnId });
      turn.id = turnId;
      turn.status = "queued";
      Object.assign(turn.items[0], { state: "sent", version: turn.items[0].version + 1 });
      turn.version += 1;
    }
    this.replayEarly();
    this.tell("change");
    if (!known && this.pending.isWaiting && this.phase === "live") this.reload(); // what waited went in before it
  }

  queued({ client_message_id: clientId }) {
    const entry = this.outbox.take(clientId);
    if (!entry || entry.sessionId !== this.sessionId) return;
    const turn = this.sending(clientId);
    if (turn) {
      this.turns = this.turns.filter((other) => other !== turn);
      this.pending.add(entry);
    }
    this.pending.sent(clientId);
    this.tell("queued");
    this.replayEarly();
    this.tell("change");
  }

  sending(clientId) {
    return this.turns.find((turn) => turn.id === sendingId(clientId)) ?? null;
  }

  replayEarly() {
    const early = this.early;
    this.early = [];
    for (const frame of early) this.event(frame);
  }

  error(frame) {
    const entry = frame.client_message_id && this.outbox.take(frame.client_message_id);
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
    this.outbox.take(entry.clientId);
    this.pending.remove(entry.clientId);
    this.turns = this.turns.filter((turn) => turn.id !== sendingId(entry.clientId));
    this.tell("refused", {
      sessionId: entry.sessionId, text: entry.text, files: entry.files ?? [], reason: detail ?? "The message wasn't sent.", code, limit, resetsAt,
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
