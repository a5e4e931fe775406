// What a chat looks like: turns made of stored rows, and of stream chunks. No DOM here.
//
// A live view, a replayed one and a reloaded one must be the same, so rows and chunks lead to the same items:
// blocks of text and reasoning have the id of the row that stores them, tool calls have the call's id.

export const STOPPED_SENTENCE = "You stopped this answer.";
const FOLLOW_UP = "follow_up"; // the kind of a user row that was read in the middle of a turn
const HOPELESS = new Set(["context_too_long"]);
const ERROR_CODE = /^\[code:([a-z0-9_]+)\] /;
const STEPS_AN_ATTEMPT = 1000;
const TERMINAL_MAJOR = 999999999;

/** Compare two event ids, `<major>-<n>`, as pairs of integers. */
export function compareIds(a, b) {
  const [aMajor, aNumber] = a.split("-").map(Number);
  const [bMajor, bNumber] = b.split("-").map(Number);
  return aMajor - bMajor || aNumber - bNumber;
}

export function newTurn(id) {
  return {
    id,
    items: [],
    status: "done", // sending, queued, running or done
    step: 0,
    lastId: null, // of the newest event taken in
    statusLine: "",
    notice: null, // {kind: stopped | error, text, code, retryable}
    orphans: new Map(), // results whose call is on an older page
    version: 0,
  };
}

/** Return JSON text as the object it holds, or the text itself; objects pass through. */
export function parseObject(value) {
  if (typeof value !== "string") return value ?? "";
  try {
    const parsed = JSON.parse(value);
    return parsed !== null && typeof parsed === "object" && !Array.isArray(parsed) ? parsed : value;
  } catch {
    return value;
  }
}

export function userItem({ key, text, createdAt = null, clientId = null, state = "sent", fileIds = [] }) {
  return { kind: "user", key, step: 0, text, createdAt, clientId, state, fileIds, version: 0 };
}

function blockItem(kind, key, step, { text = "", durationMs = null } = {}) {
  return { kind, key, step, text, durationMs, open: false, version: 0 };
}

function toolItem(callId, name, step) {
  return {
    kind: "tool", key: callId, step, name, inputText: "", input: null, whole: false,
    state: "running", output: null, reason: "", version: 0,
  };
}

function settle(item, { output, reason, failed = false }) {
  item.state = reason !== undefined ? "stopped" : failed ? "error" : "done";
  item.output = reason !== undefined ? null : output;
  item.reason = reason ?? "";
  item.version += 1;
}

/**
 * Make turns of stored rows in ascending order.
 *
 * @param {object[]} rows  as REST gives them
 * @param {{turn_id: string, status: string, resume_after: ?string} | null} active  the turn in flight
 */
export function turnsOfRows(rows, active = null) {
  const turns = [];
  const byId = new Map();
  let loose = null; // rows without a turn: a copied history
  for (const row of rows) {
    let turn;
    if (row.turn_id) {
      loose = null;
      turn = byId.get(row.turn_id);
      if (!turn) {
        turn = newTurn(row.turn_id);
        byId.set(turn.id, turn);
        turns.push(turn);
      }
    } else {
      if (!loose || (row.role === "user" && row.kind !== FOLLOW_UP)) {
        loose = newTurn(`rows:${row.id}`);
        turns.push(loose);
      }
      turn = loose;
    }
    addRow(turn, row);
  }
  if (active) {
    let turn = byId.get(active.turn_id);
    if (!turn) {
      turn = newTurn(active.turn_id);
      turns.push(turn);
    }
    turn.status = active.status === "queued" ? "queued" : "running";
    turn.lastId = active.resume_after || null;
    if (turn.lastId) turn.step = stepOf(turn.lastId) ?? turn.step;
  }
  for (const turn of turns) if (turn.status === "done") stopUnanswered(turn);
  return turns;
}

function addRow(turn, row) {
  turn.version += 1;
  turn.step = Math.max(turn.step, row.step ?? 0);
  const step = row.step ?? 0;
  if (row.role === "user") {
    turn.items.push(userItem({
      key: row.id, text: row.content, createdAt: row.created_at, clientId: row.client_message_id ?? null,
      fileIds: row.file_ids ?? [],
    }));
  } else if (row.role === "assistant" || row.role === "reasoning") {
    if (row.content) {
      const kind = row.role === "assistant" ? "text" : "reasoning";
      turn.items.push(blockItem(kind, row.id, step, { text: row.content, durationMs: row.duration_ms ?? null }));
    }
    for (const call of row.tool_calls ?? []) {
      const item = toolItem(call.id, call.name, step);
      item.input = parseObject(call.arguments);
      item.whole = true;
      const result = turn.orphans.get(call.id);
      if (result) settle(item, result);
      turn.orphans.delete(call.id);
      turn.items.push(item);
    }
  } else if (row.role === "tool") {
    const result = row.kind === "no_result"
      ? { reason: row.content }
      : { output: parseObject(row.content), failed: Boolean(row.is_error) };
    const item = turn.items.find((other) => other.kind === "tool" && other.key === row.tool_call_id);
    if (item) settle(item, result);
    else turn.orphans.set(row.tool_call_id, result);
  } else if (row.role === "system" && row.kind === "stopped") {
    turn.notice = { kind: "stopped", text: row.content, code: "", retryable: false };
  } else if (row.role === "system" && row.kind === "error") {
    const code = row.metadata?.code ?? "error";
    turn.notice = { kind: "error", text: row.content, code, retryable: row.metadata?.retryable ?? !HOPELESS.has(code) };
  }
}

/** Put a turn's items from an older page before those shown already. */
export function mergeOlder(older, turn) {
  const known = new Set(turn.items.map((item) => item.key));
  for (const item of older.items) {
    const result = item.kind === "tool" ? turn.orphans.get(item.key) : null;
    if (result) {
      settle(item, result);
      turn.orphans.delete(item.key);
    }
  }
  turn.items = [...older.items.filter((item) => !known.has(item.key)), ...turn.items];
  turn.notice ??= older.notice;
  turn.version += 1;
  return turn;
}

function stepOf(eventId) {
  const major = Number(eventId.split("-")[0]);
  return major === TERMINAL_MAJOR ? null : major % STEPS_AN_ATTEMPT;
}

/** Take in one chunk; false when this event was taken in before. */
export function applyChunk(turn, chunk, eventId = null) {
  if (eventId) {
    if (turn.lastId && compareIds(eventId, turn.lastId) <= 0) return false;
    turn.lastId = eventId;
  }
  const handler = HANDLERS[chunk.type];
  if (handler) {
    if (chunk.type !== "data-status") turn.statusLine = "";
    handler(turn, chunk, eventId);
  }
  turn.version += 1;
  return true;
}

function find(turn, key) {
  for (let index = turn.items.length - 1; index >= 0; index -= 1) {
    if (turn.items[index].key === key) return turn.items[index];
  }
  return null;
}

function openBlock(kind) {
  return (turn, chunk) => {
    if (find(turn, chunk.id)) return;
    const item = blockItem(kind, chunk.id, turn.step);
    item.open = true;
    turn.items.push(item);
  };
}

function extendBlock(turn, chunk) {
  const item = find(turn, chunk.id);
  if (!item) return;
  item.text += chunk.delta;
  item.version += 1;
}

function closeBlock(turn, chunk) {
  const item = find(turn, chunk.id);
  if (!item?.open) return;
  item.durationMs = chunk.providerMetadata?.flightdeck?.durationMs ?? null;
  close(item);
}

function close(item) {
  if (!item.open) return;
  item.open = false;
  item.version += 1;
}

function finishStep(turn) {
  // A call that never became whole is not stored either.
  turn.items = turn.items.filter((item) => item.kind !== "tool" || item.whole);
  turn.items.forEach(close);
}

/** Queued messages were read here; which ones says the server, or whoever knew what was waiting. */
function takePending(turn, { data }, eventId) {
  (data?.messages ?? []).forEach((message, place) => {
    const clientId = message.client_message_id ?? null;
    const key = message.id ?? `${eventId}:${place}`;
    const isKnown = turn.items.some((item) => item.kind === "user" && (item.key === key || (clientId && item.clientId === clientId)));
    if (isKnown) return; // it is stored, and the rows were loaded
    const item = userItem({ key, text: message.content, clientId, fileIds: message.file_ids ?? [] });
    item.step = turn.step;
    turn.items.push(item);
  });
}

function stopUnanswered(turn) {
  for (const item of turn.items) {
    if (item.kind === "tool" && item.state === "running") settle(item, { reason: "" });
  }
}

function rewind(turn, { data }) {
  const dropped = new Set(data.drop ?? []);
  const kept = data.keep ? new Set(data.keep) : null;
  turn.items = turn.items.filter((item) => {
    if (item.kind === "user") return true;
    if (kept && item.step > data.step) return kept.has(item.key);
    return !dropped.has(item.key);
  });
  finishStep(turn);
  turn.step = data.step;
}

const HANDLERS = {
  start: (turn) => { turn.status = "running"; },
  "start-step": (turn, chunk, eventId) => {
    turn.status = "running";
    turn.step = (eventId && stepOf(eventId)) || turn.step + 1;
  },
  "finish-step": finishStep,
  "text-start": openBlock("text"),
  "text-delta": extendBlock,
  "text-end": closeBlock,
  "reasoning-start": openBlock("reasoning"),
  "reasoning-delta": extendBlock,
  "reasoning-end": closeBlock,
  "tool-input-start": (turn, chunk) => {
    if (!find(turn, chunk.toolCallId)) turn.items.push(toolItem(chunk.toolCallId, chunk.toolName, turn.step));
  },
  "tool-input-delta": (turn, chunk) => {
    const item = find(turn, chunk.toolCallId);
    if (item) item.inputText += chunk.inputTextDelta;
  },
  "tool-input-available": (turn, chunk) => {
    let item = find(turn, chunk.toolCallId);
    if (!item) {
      item = toolItem(chunk.toolCallId, chunk.toolName, turn.step);
      turn.items.push(item);
    }
    item.name = chunk.toolName;
    item.input = parseObject(chunk.input);
    item.inputText = "";
    item.whole = true;
    item.version += 1;
  },
  "tool-output-available": (turn, chunk) => {
    const item = find(turn, chunk.toolCallId);
    if (!item || item.state !== "running") return; // a repeated result is dropped
    const output = parseObject(chunk.output);
    settle(item, { output, failed: output?.type === "error" });
  },
  "tool-output-error": (turn, chunk) => {
    const item = find(turn, chunk.toolCallId);
    if (!item || item.state !== "running") return;
    if (item.whole) settle(item, { reason: chunk.errorText });
    else turn.items = turn.items.filter((other) => other !== item);
  },
  "data-status": (turn, chunk) => { turn.statusLine = chunk.data?.message ?? ""; },
  "data-pending-drained": takePending,
  "data-rewind": rewind,
  error: (turn, chunk) => {
    const match = ERROR_CODE.exec(chunk.errorText);
    const code = match ? match[1] : "error";
    const text = match ? chunk.errorText.slice(match[0].length) : chunk.errorText;
    turn.notice = { kind: "error", text, code, retryable: !HOPELESS.has(code) };
  },
  abort: (turn) => {
    turn.notice = { kind: "stopped", text: STOPPED_SENTENCE, code: "", retryable: false };
  },
  finish: (turn) => {
    finishStep(turn);
    stopUnanswered(turn);
    turn.status = "done";
  },
};

/** Whether a person sees anything of this item. */
export function isVisible(item) {
  return (item.kind !== "text" && item.kind !== "reasoning") || item.text.trim() !== "";
}

/** Whether the copilot worked and ended without a word. */
export function endedSilently(turn) {
  return turn.status === "done" && !turn.notice && turn.items.some((item) => item.kind !== "user")
    && !turn.items.some((item) => item.kind === "text" && isVisible(item));
}

/** What a person sees, as plain data: two views are the same when this is. */
export function picture(turns) {
  return turns.map((turn) => ({
    id: turn.id,
    status: turn.status,
    notice: turn.notice,
    items: turn.items.filter(isVisible).map((item) => {
      if (item.kind === "user") return { kind: item.kind, text: item.text };
      if (item.kind === "text") return { kind: item.kind, key: item.key, text: item.text };
      if (item.kind === "reasoning") return { kind: item.kind, key: item.key, text: item.text, durationMs: item.durationMs };
      const { key, name, input, state, output, reason } = item;
      return { kind: item.kind, key, name, input, state, output, reason };
    }),
  }));
}
