// The copilot page: wires sidebar, transcript, composer and socket together.

import { ApiError, api, goToSignIn } from "./api.js";
import { Attachments } from "./attachments.js";
import { Chat } from "./chat.js";
import { Chips } from "./chips.js";
import { Choices } from "./choices.js";
import { Composer } from "./composer.js";
import { announce, memory, toast } from "./dom.js";
import { Sidebar, titleOf } from "./sessions.js";
import { ChatSocket } from "./socket.js";
import { Transcript } from "./transcript.js";
import { Usage, usedUp } from "./usage.js";

const SIGN_IN_AGAIN_MS = 30000;
const byId = (id) => document.getElementById(id);
const narrow = matchMedia("(max-width: 56rem)");

const scheme = location.protocol === "https:" ? "wss:" : "ws:";
const socket = new ChatSocket(`${scheme}//${location.host}${byId("app").dataset.socket}`);
const chat = new Chat(socket);
const sidebar = new Sidebar(byId("sidebar"));
const attachments = new Attachments({
  form: byId("composer"),
  dropZone: byId("main"),
  fileLimit: JSON.parse(byId("page-data").textContent).file_limit_bytes,
});
const composer = new Composer(byId("composer"), attachments);
const choices = new Choices(byId("composer"));
const chips = new Chips(byId("pending"), chat.pending);
const usage = new Usage();
const transcript = new Transcript({
  root: byId("transcript"),
  scroller: byId("scroller"),
  jump: byId("jump"),
  actions: { onRetry: retry },
});

// Which chat

function sessionInAddress() {
  return new URLSearchParams(location.search).get("session");
}

function addressOf(sessionId) {
  return sessionId ? `${location.pathname}?session=${sessionId}` : location.pathname;
}

function show(sessionId) {
  transcript.clear();
  composer.turnTo(sessionId);
  sidebar.setCurrent(sessionId);
  showTitle(sessionId ? sidebar.find(sessionId) : null);
  setView(sessionId ? "loading" : "empty");
  chat.open(sessionId);
  drawBusy();
}

function go(sessionId) {
  closeDrawer();
  if (sessionId === chat.sessionId && byId("app").dataset.view !== "missing") {
    composer.focus();
    return;
  }
  history.pushState(null, "", addressOf(sessionId));
  show(sessionId);
  if (!narrow.matches) composer.focus();
}

function showTitle(session) {
  const title = session ? titleOf(session) : "New chat";
  byId("chat-title").textContent = title;
  document.title = session?.title ? `${title} · Flightdeck` : "Copilot · Flightdeck";
}

/** loading, empty, chat or missing */
function setView(view) {
  byId("app").dataset.view = view;
  byId("empty").hidden = view !== "empty";
  byId("missing").hidden = view !== "missing";
  byId("loading").hidden = view !== "loading";
  byId("transcript").hidden = view !== "chat";
  byId("composer-area").hidden = view === "missing";
  if (view !== "chat") byId("older").hidden = true;
}

window.addEventListener("popstate", () => show(sessionInAddress()));
sidebar.addEventListener("open", ({ detail }) => go(detail));
sidebar.addEventListener("renamed", ({ detail }) => { if (detail.id === chat.sessionId) showTitle(detail); });
sidebar.addEventListener("deleted", ({ detail }) => {
  if (detail !== chat.sessionId) return;
  history.replaceState(null, "", addressOf(null));
  show(null);
});
sidebar.addEventListener("restored", ({ detail }) => { if (!chat.sessionId) go(detail); });
byId("new-chat").addEventListener("click", (event) => {
  if (event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  newChat();
});

function newChat() {
  closeDrawer();
  if (chat.sessionId || byId("app").dataset.view !== "empty") {
    history.pushState(null, "", addressOf(null));
    show(null);
  }
  composer.focus();
}

// The open chat

function drawBusy() {
  composer.setBusy({ canStop: chat.activeTurn !== null, isStopping: chat.isStopping });
  chips.setResting(!chat.isBusy);
  byId("transcript").setAttribute("aria-busy", String(chat.isBusy));
}

chat.addEventListener("change", () => {
  if (chat.sessionId || chat.turns.length) {
    const isEmpty = chat.turns.length === 0;
    if (byId("app").dataset.view !== (isEmpty ? "empty" : "chat")) setView(isEmpty ? "empty" : "chat");
    byId("older").hidden = !chat.hasMore || isEmpty;
  }
  transcript.show(chat.turns);
  drawBusy();
});
chat.addEventListener("renamed", ({ detail }) => transcript.rename(detail.from, detail.to));
chat.addEventListener("meta", ({ detail }) => {
  showTitle(detail);
  notice("load", "");
});
chat.addEventListener("missing", () => {
  showTitle(null);
  setView("missing");
});
chat.addEventListener("failed", ({ detail }) => {
  if (chat.phase === "loading") notice("load", `This chat can't be loaded. ${detail} Trying again…`);
  else toast(detail);
});
chat.addEventListener("started", () => announce("The copilot is answering."));
chat.addEventListener("ended", ({ detail: turn }) => {
  const words = { stopped: "The answer was stopped.", error: `The answer failed. ${turn.notice?.text ?? ""}` };
  announce(words[turn.notice?.kind] ?? "The answer is complete.");
  usage.load();
});
chat.addEventListener("refused", ({ detail }) => {
  const { sessionId, text, files, clientId } = detail;
  const reason = reasonOf(detail);
  if (sessionId === chat.sessionId) {
    composer.giveBack(text, clientId, reason, files);
    return;
  }
  addToDraft(sessionId, text);
  toast(`A message in another chat wasn't sent; it is kept there as a draft. ${reason}`, { ms: 8000 });
});

function reasonOf({ reason, code, limit, resetsAt }) {
  if (code === "rate_limited") {
    usage.load();
    return usedUp(limit, resetsAt);
  }
  if (code === "pending_full") return "Ten messages are waiting already. Delete one, or wait until the copilot has read them.";
  if (code === "too_many_queued") return "These were many messages in a minute. Wait a moment, then send this one again.";
  return reason;
}

// What waits

chat.addEventListener("queued", () => announce("Your message waits until the copilot is ready for it."));
chat.addEventListener("drained", ({ detail: count }) => {
  announce(count === 1 ? "The copilot read your waiting message." : `The copilot read ${count} waiting messages.`);
});
chat.pending.addEventListener("read", () => toast("The copilot has already read this message."));
chat.pending.addEventListener("failed", ({ detail }) => toast(`This wasn’t changed. ${detail}`));
chips.addEventListener("interrupted", ({ detail: text }) => {
  composer.giveBack(text, null, "The copilot read this message before you changed it. Your new wording is here.");
});

// Sending

const NEW_DRAFT = "fd:draft:new";
let starting = { ticket: -1, made: null }; // the chat that is being made for a first message

async function send(text, clientId, files = []) {
  const options = { clientId, files, ...choices.values };
  transcript.follows = true;
  if (!chat.sessionId) {
    const { ticket } = chat;
    if (starting.ticket !== ticket) starting = { ticket, made: start(text) };
    const { id, problem } = await starting.made;
    starting = { ticket: -1, made: null };
    if (!id && ticket === chat.ticket) composer.giveBack(text, null, `The chat couldn't be started. ${problem}`, files);
    if (!id) return;
    if (id !== chat.sessionId) {
      addToDraft(id, text); // somebody looked elsewhere meanwhile
      return;
    }
  }
  chat.send(text, options);
}

/** Make a chat and go on in it; its id, or what went wrong. */
async function start(text) {
  const { ticket } = chat;
  memory.set(NEW_DRAFT, text); // a reload in this moment loses nothing
  try {
    const session = await api("sessions", { method: "POST", body: {} });
    memory.set(NEW_DRAFT, "");
    sidebar.update({ ...session, is_processing: session.is_processing ?? false });
    if (ticket === chat.ticket) {
      history.pushState(null, "", addressOf(session.id));
      composer.turnTo(session.id, { keepText: true });
      sidebar.setCurrent(session.id);
      setView("chat");
      chat.adopt(session.id);
    }
    return { id: session.id };
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return { problem: error.message };
  }
}

function addToDraft(sessionId, text) {
  const key = `fd:draft:${sessionId}`;
  memory.set(key, [memory.get(key), text].filter(Boolean).join("\n\n"));
}

function retry(turn) {
  const last = turn.items.findLast((item) => item.kind === "user")
    ?? chat.turns.flatMap((other) => other.items).findLast((item) => item.kind === "user");
  if (!last) return;
  if (chat.isBusy) {
    composer.say("The copilot is still answering. Wait for it, or stop it.", "note");
    return;
  }
  send(last.text, undefined, last.fileIds.map((id) => ({ id })));
  composer.focus();
}

composer.addEventListener("send", ({ detail }) => send(detail.text, detail.clientId, detail.files));
composer.addEventListener("stop", () => chat.stop());
byId("prompts").addEventListener("click", (event) => {
  const button = event.target.closest("[data-prompt]");
  if (!button) return;
  composer.focus();
  send(button.dataset.prompt);
});

// Older messages

async function loadOlder() {
  byId("older").setAttribute("aria-busy", "true");
  if (await chat.loadOlder()) {
    transcript.showOlder(chat.turns);
    byId("older").hidden = !chat.hasMore;
  }
  byId("older").removeAttribute("aria-busy");
}

byId("older").querySelector("button").addEventListener("click", loadOlder);
new IntersectionObserver(([entry]) => { if (entry.isIntersecting && !transcript.follows) loadOlder(); }, {
  root: byId("scroller"),
  rootMargin: "200px",
}).observe(byId("older"));

// The connection

const notices = { socket: "", load: "" };

function notice(source, text) {
  notices[source] = text;
  const shown = notices.socket || notices.load;
  const bar = byId("connection");
  bar.hidden = !shown;
  if (bar.lastElementChild.textContent !== shown) bar.lastElementChild.textContent = shown;
}

socket.addEventListener("state", ({ detail }) => {
  byId("connection").dataset.kind = detail.kind;
  notice("socket", detail.text);
});
socket.addEventListener("signed-out", () => {
  // A sign-in that the socket refuses again and again must not send the browser in circles.
  const last = Number(memory.get("fd:signed-out", "session") ?? 0);
  memory.set("fd:signed-out", String(Date.now()), "session");
  if (Date.now() - last > SIGN_IN_AGAIN_MS) goToSignIn();
  else notice("socket", "You were signed out. Sign in again, then reload this page.");
});
let wasOpen = false;
socket.addEventListener("open", () => {
  if (wasOpen) sidebar.load(); // what happened meanwhile was missed
  wasOpen = true;
});
socket.addEventListener("frame", ({ detail: frame }) => {
  if (frame.type !== "session") return;
  const { session_id: id, title, updated_at, is_processing, deleted } = frame;
  if (deleted) {
    sidebar.forget(id);
    if (id === chat.sessionId) chat.load(); // which finds that it is missing
    return;
  }
  sidebar.update({ id, title, updated_at, is_processing });
});

// The drawer of narrow screens

const drawer = byId("sidebar");
const opener = byId("open-sidebar");

function setDrawer(isOpen) {
  const covers = narrow.matches && isOpen;
  drawer.classList.toggle("is-open", covers);
  byId("scrim").hidden = !covers;
  drawer.inert = narrow.matches && !isOpen;
  byId("main").inert = covers;
  opener.setAttribute("aria-expanded", String(covers));
}

function closeDrawer() {
  if (!drawer.classList.contains("is-open")) return;
  setDrawer(false);
  opener.focus();
}

opener.addEventListener("click", () => {
  setDrawer(true);
  byId("close-sidebar").focus();
});
byId("close-sidebar").addEventListener("click", closeDrawer);
byId("scrim").addEventListener("click", closeDrawer);
narrow.addEventListener("change", () => setDrawer(false));
setDrawer(false);

// Keys

const shortcuts = byId("shortcuts");
for (const button of document.querySelectorAll("[data-shortcuts]")) {
  button.addEventListener("click", () => shortcuts.showModal());
}
shortcuts.addEventListener("click", (event) => { if (event.target === shortcuts) shortcuts.close(); });

document.addEventListener("keydown", (event) => {
  if (shortcuts.open || event.isComposing || event.defaultPrevented) return;
  const command = event.ctrlKey || event.metaKey;
  const types = event.target.closest("input, textarea, select, [contenteditable]");
  if (event.key === "Escape" && drawer.classList.contains("is-open")) {
    closeDrawer();
  } else if (command && event.shiftKey && event.key.toLowerCase() === "o") {
    event.preventDefault();
    newChat();
  } else if (command && !event.shiftKey && event.key.toLowerCase() === "k") {
    event.preventDefault();
    if (narrow.matches) setDrawer(true);
    byId("session-search").focus();
  } else if (command && event.key === ".") {
    event.preventDefault();
    chat.stop();
  } else if (!types && !command && !event.altKey && event.key === "?") {
    event.preventDefault();
    shortcuts.showModal();
  } else if (!types && !command && !event.altKey && event.key === "/") {
    event.preventDefault();
    composer.focus();
  }
});

// Begin

if (/mac|iphone|ipad/i.test(navigator.userAgent)) {
  for (const key of document.querySelectorAll("[data-command-key]")) key.textContent = "⌘";
}
sidebar.load();
show(sessionInAddress());
socket.connect();
usage.load();
if (!narrow.matches) composer.focus();
if (document.documentElement.dataset.early === "send") composer.submit();
