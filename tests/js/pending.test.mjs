// Messages that wait: the list, and a chat in front of a socket that we play. Run with `node --test tests/js`.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Chat } from "../../static/js/chat.js";
import { drained, itemsOf, joined } from "../../static/js/pending.js";

const SESSION = "s1";
const waiting = (id, content, clientId = `client-${id}`) => ({ id, client_message_id: clientId, content, file_ids: [] });
const listOf = (...items) => ({ count: items.length, messages: items.map(({ content }) => content), items });
const texts = (items) => items.map(({ text }) => text);
const states = (items) => items.map(({ text, state }) => `${text} ${state}`);
const row = (sequence, fields) => ({
  id: `r${sequence}`, sequence, turn_id: "t1", step: 0, role: "user", kind: "", content: "", tool_calls: null,
  tool_call_id: null, file_ids: [], created_at: "2026-01-01T00:00:00Z", client_message_id: null, ...fields,
});

class Socket extends EventTarget {
  sent = [];
  send(frame) {
    this.sent.push(frame);
    return true;
  }
  say(frame) {
    this.dispatchEvent(new CustomEvent("frame", { detail: { session_id: SESSION, ...frame } }));
  }
  chunk(turnId, eventId, chunk) {
    this.say({ type: "event", turn_id: turnId, event_id: eventId, chunk });
  }
  of(type) {
    return this.sent.filter((frame) => frame.type === type);
  }
}

let rest; // what the server answers: [method and path, answer or status]
let asked;

beforeEach(() => {
  rest = new Map();
  asked = [];
  globalThis.document = { getElementById: () => ({ dataset: { api: "/" } }), cookie: "", documentElement: { dataset: {} } };
  globalThis.fetch = async (url, { method, body }) => {
    asked.push([method, url, body ? JSON.parse(body) : null]);
    const answer = rest.get(`${method} ${url.split("?")[0]}`);
    const status = typeof answer === "number" ? answer : 200;
    return { ok: status < 400, status, json: async () => (typeof answer === "number" ? {} : answer) };
  };
});

const settled = () => new Promise((resolve) => { setImmediate(resolve); });

/** A chat whose turn t1 runs, ready for events. */
async function running(t, { pending = listOf(), rows = [row(1, { content: "Begin" })] } = {}) {
  const socket = new Socket();
  const chat = new Chat(socket);
  t.after(() => {
    chat.forget();
    chat.pending.open(null);
    for (const entry of [...chat.outbox.entries]) chat.outbox.take(entry.clientId);
  });
  const active = { turn_id: "t1", status: "running", resume_after: null };
  rest.set(`GET /sessions/${SESSION}`, { messages: rows, has_more_messages: false, active_stream: active });
  chat.open(SESSION);
  await settled();
  socket.say({ type: "subscribed", turn: { id: "t1", status: "running" }, latest_sequence: rows.length, pending });
  assert.equal(chat.phase, "live");
  return { chat, socket };
}

test("the server's list is the truth, around what is on its way", () => {
  const known = [
    { ...itemsOf(listOf(waiting("a", "A")))[0] },
    { key: "client-b", id: null, clientId: "client-b", text: "B", fileIds: [], state: "sent" },
    { key: "client-c", id: null, clientId: "client-c", text: "C", fileIds: [], state: "sending" },
  ];
  const now = joined(known, itemsOf(listOf(waiting("b", "B"))));
  assert.deepEqual(states(now), ["A leaving", "B waiting", "C sending"]);
  assert.deepEqual(states(joined(now, itemsOf(listOf(waiting("b", "B"), waiting("c", "C"))))), ["A leaving", "B waiting", "C waiting"]);
});

test("what was read is known by its id, by its words, or by its place", () => {
  const items = itemsOf(listOf(waiting("a", "A"), waiting("b", "B", null), waiting("c", "C")));
  assert.deepEqual(texts(drained(items, { count: 1, messages: [{ id: "m3", content: "C" }] }).left), ["A", "B"]);
  const messages = [{ id: "m1", content: "B" }, { id: "m2", content: "Edited", client_message_id: "client-a" }];
  assert.deepEqual(texts(drained(items, { count: 2, messages }).left), ["C"]);
  const blind = drained(items, { count: 2 });
  assert.deepEqual(blind.messages.map(({ content }) => content), ["A", "B"]);
  assert.deepEqual(texts(blind.left), ["C"]);
  assert.equal(drained(items, { count: 4 }).messages, null);
});

test("a message sent while a turn runs is a chip at once, and a message where it was read", async (t) => {
  const { chat, socket } = await running(t);
  chat.send("Also Ghent", { clientId: "c1", mode: "fast", model: "advanced" });
  assert.deepEqual(states(chat.pending.items), ["Also Ghent sending"]);
  assert.equal(chat.turns.length, 1);
  const [frame] = socket.of("message");
  assert.deepEqual([frame.message, frame.mode, frame.model], ["Also Ghent", "fast", "advanced"]);
  socket.say({ type: "queued", client_message_id: "c1" });
  socket.say({ type: "pending", ...listOf(waiting("p1", "Also Ghent", "c1")) });
  assert.deepEqual(states(chat.pending.items), ["Also Ghent waiting"]);
  socket.chunk("t1", "1001-1", { type: "start-step" });
  socket.chunk("t1", "1001-2", { type: "tool-input-available", toolCallId: "call", toolName: "nap", input: {} });
  socket.chunk("t1", "1001-3", { type: "tool-output-available", toolCallId: "call", output: "Awake" });
  socket.chunk("t1", "1001-4", { type: "finish-step" });
  const read = { type: "data-pending-drained", data: { count: 1, messages: [{ id: "m1", content: "Also Ghent", client_message_id: "c1" }] } };
  socket.chunk("t1", "1001-5", read);
  socket.say({ type: "pending", ...listOf() });
  socket.chunk("t1", "1001-5", read); // again
  assert.deepEqual(chat.pending.items, []);
  assert.deepEqual(chat.turns[0].items.map(({ kind }) => kind), ["user", "tool", "user"]);
  assert.equal(asked.length, 1, "nothing had to be loaded");
});

test("a chip doesn't come back when it was read before the server's answer came", async (t) => {
  const { chat, socket } = await running(t);
  chat.send("Quick", { clientId: "c1" });
  socket.chunk("t1", "1001-1", { type: "data-pending-drained", data: { count: 1, messages: [{ id: "m1", content: "Quick", client_message_id: "c1" }] } });
  socket.say({ type: "queued", client_message_id: "c1" });
  assert.deepEqual(chat.pending.items, []);
  assert.deepEqual(texts(chat.turns[0].items), ["Begin", "Quick"]);
});

test("a refused message is given back, and its chip goes", async (t) => {
  const { chat, socket } = await running(t);
  const refused = [];
  chat.addEventListener("refused", ({ detail }) => refused.push(detail));
  chat.send("Too much", { clientId: "c1" });
  socket.say({ type: "error", code: "rate_limited", detail: "No.", client_message_id: "c1", window: "daily", resets_at: "2026-01-02T00:00:00Z" });
  assert.deepEqual(chat.pending.items, []);
  const [{ text, code, limit, resetsAt }] = refused;
  assert.deepEqual([text, code, limit, resetsAt], ["Too much", "rate_limited", "daily", "2026-01-02T00:00:00Z"]);
});

test("a turn that ended meanwhile makes the chip a message", async (t) => {
  const { chat, socket } = await running(t);
  chat.send("Late", { clientId: "c1" });
  socket.chunk("t1", "999999999-1", { type: "finish" });
  socket.say({ type: "accepted", client_message_id: "c1", turn_id: "t2" });
  assert.deepEqual(chat.pending.items, []);
  assert.deepEqual(chat.turns.map(({ id, status }) => `${id} ${status}`), ["t1 done", "t2 queued"]);
});

test("after a stop chips stay; the next message loads the rows that it took along", async (t) => {
  const { chat, socket } = await running(t, { pending: listOf(waiting("p1", "First")) });
  socket.chunk("t1", "999999999-1", { type: "abort" });
  socket.chunk("t1", "999999999-2", { type: "finish" });
  assert.deepEqual(states(chat.pending.items), ["First waiting"]);
  chat.send("Second", { clientId: "c2" });
  assert.equal(chat.turns.at(-1).status, "sending");
  rest.set(`GET /sessions/${SESSION}`, {
    messages: [
      row(1, { content: "Begin" }), row(2, { turn_id: "t2", content: "First", client_message_id: "client-p1" }),
      row(3, { turn_id: "t2", content: "Second", client_message_id: "c2" }),
    ],
    has_more_messages: false, active_stream: { turn_id: "t2", status: "running", resume_after: null },
  });
  socket.say({ type: "accepted", client_message_id: "c2", turn_id: "t2" });
  socket.say({ type: "pending", ...listOf() });
  await settled();
  assert.deepEqual(chat.pending.items, []);
  assert.deepEqual(chat.turns.map((turn) => texts(turn.items)), [["Begin"], ["First", "Second"]]);
});

test("a next turn that begins by itself is loaded with the messages that began it", async (t) => {
  const { chat, socket } = await running(t, { pending: listOf(waiting("p1", "Go on")) });
  rest.set(`GET /sessions/${SESSION}`, {
    messages: [row(1, { content: "Begin" }), row(2, { turn_id: "t2", content: "Go on", client_message_id: "client-p1" })],
    has_more_messages: false, active_stream: { turn_id: "t2", status: "running", resume_after: null },
  });
  socket.say({ type: "pending", ...listOf() });
  assert.deepEqual(states(chat.pending.items), ["Go on leaving"], "in sight until it is a message");
  socket.chunk("t1", "999999999-1", { type: "finish" });
  await settled();
  assert.deepEqual(chat.pending.items, []);
  assert.deepEqual(chat.turns.map((turn) => texts(turn.items)), [["Begin"], ["Go on"]]);
});

test("chips are the same after a reload, and an unconfirmed one isn't shown twice", async (t) => {
  const { chat, socket } = await running(t);
  chat.send("Mine", { clientId: "c1" });
  socket.dispatchEvent(new Event("lost"));
  socket.dispatchEvent(new Event("open"));
  socket.say({ type: "subscribed", turn: { id: "t1", status: "running" }, latest_sequence: 1, pending: listOf(waiting("p1", "Mine", "c1")) });
  assert.deepEqual(states(chat.pending.items), ["Mine waiting"]);
  assert.equal(chat.outbox.entries.length, 0);
  assert.equal(socket.of("message").length, 1, "the list confirmed it");
});

test("lists of other chats are none of ours", async (t) => {
  const { chat, socket } = await running(t);
  socket.say({ type: "pending", ...listOf(waiting("p1", "Elsewhere")), session_id: "s2" });
  assert.deepEqual(chat.pending.items, []);
});

test("edit, move and delete show at once and ask the server", async (t) => {
  const { chat } = await running(t, { pending: listOf(waiting("p1", "A"), waiting("p2", "B"), waiting("p3", "C")) });
  asked = [];
  const path = `/sessions/${SESSION}/messages/pending`;
  for (const id of ["p1", "p2", "p3"]) for (const method of ["PATCH", "DELETE"]) rest.set(`${method} ${path}/${id}`, {});
  const edited = chat.pending.edit("client-p1", "A2");
  const moved = chat.pending.move("client-p3", 0);
  const deleted = chat.pending.delete("client-p2");
  assert.deepEqual(texts(chat.pending.items), ["C", "A2"]);
  assert.deepEqual(await Promise.all([edited, moved, deleted]), [true, true, true]);
  assert.deepEqual(asked, [
    ["PATCH", `${path}/p1`, { content: "A2" }], ["PATCH", `${path}/p3`, { position: 0 }], ["DELETE", `${path}/p2`, null],
  ]);
  chat.pending.take(listOf(waiting("p3", "C"), waiting("p1", "A2"), waiting("p2", "B"))); // older than the deletion
  assert.deepEqual(texts(chat.pending.items), ["C", "A2"]);
});

test("an action that comes too late says so; one that fails shows the server's list again", async (t) => {
  const { chat } = await running(t, { pending: listOf(waiting("p1", "A"), waiting("p2", "B")) });
  const path = `/sessions/${SESSION}/messages/pending`;
  const said = [];
  chat.pending.addEventListener("read", () => said.push("read"));
  chat.pending.addEventListener("failed", () => said.push("failed"));
  rest.set(`PATCH ${path}/p1`, 404);
  assert.equal(await chat.pending.edit("client-p1", "A2"), false);
  assert.deepEqual(texts(chat.pending.items), ["B"]);
  rest.set(`DELETE ${path}/p2`, 500);
  rest.set(`GET ${path}`, listOf(waiting("p2", "B")));
  assert.equal(await chat.pending.delete("client-p2"), false);
  assert.deepEqual(texts(chat.pending.items), ["B"]);
  assert.deepEqual(said, ["read", "failed"]);
});
