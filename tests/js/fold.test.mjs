// What a stream means to the page. Run with `node --test tests/js`.

import assert from "node:assert/strict";
import { test } from "node:test";

import { applyChunk, compareIds, endedSilently, mergeOlder, newTurn, picture, turnsOfRows } from "../../static/js/fold.js";

const TURN = "t1";
let sequence = 0;
const row = (fields) => ({
  id: `r${(sequence += 1)}`, sequence, turn_id: TURN, step: 0, role: "user", kind: "", content: "", tool_calls: null,
  tool_call_id: null, file_ids: [], created_at: "2026-01-01T00:00:00Z", ...fields,
});

/** Number chunks as the server does: a major a step, the end by itself. */
function numbered(chunks, { attempt = 1, from = 0 } = {}) {
  let step = from;
  let major = attempt * 1000 + from + 1;
  let number = 0;
  return chunks.map((chunk) => {
    if (chunk.type === "start-step") {
      step += 1;
      if (step > from + 1) [major, number] = [attempt * 1000 + step, 0];
    }
    if (["error", "abort", "finish"].includes(chunk.type) && major !== 999999999) [major, number] = [999999999, 0];
    number += 1;
    return [`${major}-${number}`, chunk];
  });
}

function play(events, turn = newTurn(TURN)) {
  for (const [id, chunk] of events) applyChunk(turn, chunk, id);
  return turn;
}

const USER = row({ content: "Read it", id: "u1" });
const OUTPUT = { type: "web_fetch", message: "Read.", title: "Example" };
const CHUNKS = [
  { type: "start", messageId: TURN },
  { type: "data-status", data: { message: "Message received" }, transient: true },
  { type: "start-step" },
  { type: "reasoning-start", id: "a" },
  { type: "reasoning-delta", id: "a", delta: "Let me " },
  { type: "reasoning-delta", id: "a", delta: "look." },
  { type: "reasoning-end", id: "a", providerMetadata: { flightdeck: { durationMs: 4200 } } },
  { type: "text-start", id: "b" },
  { type: "text-delta", id: "b", delta: "Reading." },
  { type: "text-end", id: "b" },
  { type: "tool-input-start", toolCallId: "c", toolName: "web_fetch" },
  { type: "tool-input-delta", toolCallId: "c", inputTextDelta: '{"url"' },
  { type: "tool-input-available", toolCallId: "c", toolName: "web_fetch", input: { url: "https://example.com" } },
  { type: "tool-output-available", toolCallId: "c", output: OUTPUT },
  { type: "finish-step" },
  { type: "start-step" },
  { type: "text-start", id: "d" },
  { type: "text-delta", id: "d", delta: "It is " },
  { type: "text-delta", id: "d", delta: "an example." },
  { type: "text-end", id: "d" },
  { type: "finish-step" },
  { type: "message-metadata", messageMetadata: { usage: {} } },
  { type: "finish" },
];
const STEP_ONE = [
  row({ id: "a", step: 1, role: "reasoning", content: "Let me look.", duration_ms: 4200 }),
  row({ id: "b", step: 1, role: "assistant", content: "Reading.", tool_calls: [{ id: "c", name: "web_fetch", arguments: '{"url":"https://example.com"}' }] }),
  row({ step: 1, role: "tool", content: JSON.stringify(OUTPUT), tool_call_id: "c" }),
];
const STEP_TWO = [row({ id: "d", step: 2, role: "assistant", content: "It is an example." })];

/** A live view that begins with the user's message. */
function begun() {
  const [turn] = turnsOfRows([USER]);
  turn.status = "running";
  return turn;
}

test("ids are pairs of integers", () => {
  assert.ok(compareIds("1001-2", "1001-10") < 0);
  assert.ok(compareIds("999999999-1", "2003-900") > 0);
  assert.equal(compareIds("1-1", "1-1"), 0);
});

test("live view, replay and reload are the same", () => {
  const events = numbered(CHUNKS);
  const live = picture([play(events, begun())]);
  assert.deepEqual(live, picture(turnsOfRows([USER, ...STEP_ONE, ...STEP_TWO])));
  assert.deepEqual(live, picture([play([...events, ...events], begun())]), "an event counts once");
});

test("at any point, rows and the rest of the stream make the same view", () => {
  const events = numbered(CHUNKS);
  const whole = picture([play(events, begun())]);
  for (let cut = 0; cut <= events.length; cut += 1) {
    // A tab that lost its socket after `cut` events and is sent some of them again.
    const turn = play(events.slice(0, cut), begun());
    play(events.slice(Math.max(0, cut - 3)), turn);
    assert.deepEqual(picture([turn]), whole, `cut at ${cut}`);
  }
  const finish = CHUNKS.findIndex((chunk) => chunk.type === "finish-step");
  const active = { turn_id: TURN, status: "running", resume_after: events[finish][0] };
  const [reloaded] = turnsOfRows([USER, ...STEP_ONE], active);
  assert.equal(reloaded.step, 1);
  assert.deepEqual(picture([play(events, reloaded)]), whole, "after a reload between the steps");
});

test("a stop ends blocks and calls alike live and stored", () => {
  const live = play(numbered([
    ...CHUNKS.slice(0, 13),
    { type: "tool-input-start", toolCallId: "half", toolName: "bash" },
    { type: "tool-output-error", toolCallId: "c", errorText: "stopped" },
    { type: "tool-output-error", toolCallId: "half", errorText: "stopped" },
    { type: "finish-step" },
    { type: "abort" },
    { type: "finish" },
  ]), begun());
  const stored = turnsOfRows([
    USER, STEP_ONE[0], STEP_ONE[1],
    row({ step: 1, role: "tool", kind: "no_result", content: "stopped", tool_call_id: "c", is_error: true }),
    row({ step: 1, role: "system", kind: "stopped", content: "You stopped this answer." }),
  ]);
  assert.deepEqual(picture([live]), picture(stored));
  assert.equal(live.items.at(-1).state, "stopped");
});

test("an error shows its sentence, live and stored", () => {
  const live = play(numbered([CHUNKS[0], { type: "error", errorText: "[code:overloaded] It is busy." }, { type: "finish" }]), begun());
  const stored = turnsOfRows([USER, row({ role: "system", kind: "error", content: "It is busy.", metadata: { code: "overloaded", retryable: true } })]);
  assert.deepEqual(picture([live]), picture(stored));
  assert.deepEqual(live.notice, { kind: "error", text: "It is busy.", code: "overloaded", retryable: true });
});

test("an error that would come again offers no retry", () => {
  const live = play(numbered([{ type: "error", errorText: "[code:context_too_long] Too long." }, { type: "finish" }]));
  assert.equal(live.notice.retryable, false);
});

test("a failed tool is an error; a call never answered is stopped at the end", () => {
  const failed = CHUNKS.map((chunk) => (chunk.type === "tool-output-available" ? { ...chunk, output: { type: "error", message: "No." } } : chunk));
  assert.equal(play(numbered(failed)).items.find((item) => item.kind === "tool").state, "error");
  const silent = CHUNKS.filter((chunk) => chunk.type !== "tool-output-available");
  assert.equal(play(numbered(silent)).items.find((item) => item.kind === "tool").state, "stopped");
  assert.equal(turnsOfRows([USER, ...STEP_ONE.slice(0, 2)])[0].items.at(-1).state, "stopped");
});

test("a rewind voids what was begun after the stored step", () => {
  const events = numbered(CHUNKS.slice(0, 18));
  const turn = play(events, begun());
  const again = [
    { type: "data-rewind", data: { step: 1, drop: ["d"] } },
    { type: "start-step" },
    { type: "text-start", id: "e" },
    { type: "text-delta", id: "e", delta: "It is an example." },
    { type: "text-end", id: "e" },
    { type: "finish-step" },
    { type: "finish" },
  ];
  play(numbered(again, { attempt: 2, from: 1 }), turn);
  const stored = turnsOfRows([USER, ...STEP_ONE, row({ id: "e", step: 2, role: "assistant", content: "It is an example." })]);
  assert.deepEqual(picture([turn]), picture(stored));
  assert.equal(turn.step, 2);
});

test("a rewind keeps what is stored of an unfinished step", () => {
  const turn = play(numbered(CHUNKS.slice(0, 13)), begun());
  applyChunk(turn, { type: "data-rewind", data: { step: 0, drop: [], keep: ["b", "c"] } }, "2000-1");
  assert.deepEqual(turn.items.map((item) => item.key), ["u1", "b", "c"]);
  applyChunk(turn, { type: "tool-output-available", toolCallId: "c", output: OUTPUT }, "2001-2");
  assert.equal(turn.items.at(-1).state, "done");
});

test("a page that begins inside a turn is joined with the older one", () => {
  const rows = [USER, ...STEP_ONE, ...STEP_TWO];
  const [turn] = turnsOfRows(rows.slice(3));
  const [older] = turnsOfRows(rows.slice(0, 3));
  assert.deepEqual(picture([mergeOlder(older, turn)]), picture(turnsOfRows(rows)));
});

test("copied rows without a turn are split at each user message", () => {
  const rows = [USER, ...STEP_TWO, { ...USER, id: "u2" }].map((one) => ({ ...one, turn_id: null }));
  assert.deepEqual(turnsOfRows(rows).map((turn) => turn.items.length), [2, 1]);
});

test("a status line lasts until the next content", () => {
  const turn = play(numbered(CHUNKS.slice(0, 2)));
  assert.equal(turn.statusLine, "Message received");
  assert.equal(play(numbered(CHUNKS.slice(0, 4))).statusLine, "");
});

test("a turn that worked and said nothing is told apart", () => {
  assert.ok(endedSilently(turnsOfRows([USER, ...STEP_ONE.map((one) => ({ ...one, content: one.role === "tool" ? one.content : "" }))])[0]));
  assert.ok(!endedSilently(turnsOfRows([USER])[0]));
  assert.ok(!endedSilently(turnsOfRows([USER, ...STEP_TWO])[0]));
});

const DRAINED = {
  type: "data-pending-drained",
  data: { count: 2, messages: [{ id: "f1", content: "By train", client_message_id: "c1" }, { id: "f2", content: "On Friday" }] },
};
const WITH_FOLLOW_UPS = CHUNKS.toSpliced(15, 0, DRAINED);
const FOLLOW_UPS = [
  row({ id: "f1", step: 1, kind: "follow_up", content: "By train", client_message_id: "c1" }),
  row({ id: "f2", step: 1, kind: "follow_up", content: "On Friday" }),
];

test("queued messages stand where they were read: live, replayed and reloaded", () => {
  const events = numbered(WITH_FOLLOW_UPS);
  const whole = picture(turnsOfRows([USER, ...STEP_ONE, ...FOLLOW_UPS, ...STEP_TWO]));
  assert.deepEqual(whole[0].items.map(({ kind }) => kind), ["user", "reasoning", "text", "tool", "user", "user", "text"]);
  for (let cut = 0; cut <= events.length; cut += 1) {
    const turn = play(events.slice(0, cut), begun());
    play(events.slice(Math.max(0, cut - 3)), turn);
    assert.deepEqual(picture([turn]), whole, `cut at ${cut}`);
  }
  // The rows may know more than the last id that they were stored with.
  const active = { turn_id: TURN, status: "running", resume_after: events[14][0] };
  const [reloaded] = turnsOfRows([USER, ...STEP_ONE, ...FOLLOW_UPS], active);
  assert.deepEqual(picture([play(events, reloaded)]), whole);
});

test("a rewind leaves the messages that were read before it", () => {
  const turn = play(numbered(WITH_FOLLOW_UPS.slice(0, 19)), begun());
  applyChunk(turn, { type: "data-rewind", data: { step: 1, drop: ["d"] } }, "2000-1");
  assert.deepEqual(turn.items.map((item) => item.key), ["u1", "a", "b", "c", "f1", "f2"]);
});

test("a copied history keeps follow-ups in the turn that read them", () => {
  const rows = [USER, ...STEP_ONE, ...FOLLOW_UPS, ...STEP_TWO].map((one) => ({ ...one, turn_id: null }));
  assert.equal(turnsOfRows(rows).length, 1);
});

test("thinking has the length that the server tells, live and stored", () => {
  const [stored] = turnsOfRows([USER, STEP_ONE[0]]);
  assert.equal(stored.items[1].durationMs, 4200);
  const live = play(numbered(CHUNKS.slice(0, 7)), begun());
  assert.equal(live.items[1].durationMs, 4200);
  assert.equal(play(numbered(CHUNKS.slice(0, 6)), begun()).items[1].durationMs, null, "not while it goes on");
  const cutOff = play(numbered([...CHUNKS.slice(0, 6), { type: "reasoning-end", id: "a" }]), begun());
  assert.equal(cutOff.items[1].durationMs, null, "nobody knows when its runner died");
});
