// Follows a run: events say that something changed, the server's HTML says what. Rows decide, so a lost event loses nothing.

import { announce } from "./dom.js";
import { renderMarkdown } from "./library.js";
import { knownParts, updateParts } from "./parts.js";

const PAUSE_MS = 350; // between two looks, so that a busy run doesn't flood the server
const QUIET_MS = 5000; // without any event the page looks by itself
const WORDS = {
  QUEUED: "queued", RUNNING: "running", COMPLETED: "completed", FAILED: "failed", TERMINATED: "stopped",
  REVIEW: "waiting for your review",
};

const root = document.getElementById("run");
const known = knownParts(root);
let status = "";
let isOver = false;
let looking = false;
let again = false;
let timer = 0;
let events = null;

function readHead() {
  const head = root.querySelector('[data-part="head"]');
  isOver = head.dataset.over === "true";
  if (status && status !== head.dataset.status) announce(`The run is ${WORDS[head.dataset.status] ?? head.dataset.status}.`);
  status = head.dataset.status;
}

/** Colour the picture by what the list of steps says. */
function paint() {
  for (const row of root.querySelectorAll("[data-node-status]")) {
    const box = root.querySelector(`.box[data-node="${row.dataset.nodeStatus}"]`);
    if (!box) continue;
    box.dataset.status = row.dataset.status;
    box.dataset.label ??= box.getAttribute("aria-label");
    box.setAttribute("aria-label", `${box.dataset.label}, ${row.querySelector(".status").textContent.trim().toLowerCase()}`);
  }
}

async function look() {
  clearTimeout(timer);
  if (looking) {
    again = true;
    return;
  }
  looking = true;
  again = false;
  try {
    const answer = await fetch(root.dataset.live, { credentials: "same-origin", redirect: "error" });
    if (answer.ok) show(await answer.text());
  } catch {
    // The server is away for a moment; the next look finds it.
  }
  looking = false;
  if (isOver) {
    events?.close();
    events = null;
  } else {
    timer = setTimeout(look, again ? PAUSE_MS : QUIET_MS);
  }
}

function show(html) {
  const fresh = new DOMParser().parseFromString(html, "text/html");
  for (const part of updateParts(root, fresh, known, ["picture"])) renderMarkdown(part);
  readHead();
  paint();
}

function lookSoon() {
  if (looking) {
    again = true;
    return;
  }
  clearTimeout(timer);
  timer = setTimeout(look, PAUSE_MS);
}

/** Listen to the run; the browser connects again by itself, and after a refusal we do. */
function listen() {
  if (isOver || events) return;
  events = new EventSource(root.dataset.events);
  events.onmessage = lookSoon;
  events.onerror = () => {
    // The end of the stream looks like an error too; the rows say whether the run is over.
    lookSoon();
    if (events?.readyState !== EventSource.CLOSED) return;
    events = null;
    setTimeout(listen, QUIET_MS);
  };
}

readHead();
paint();
if (!isOver) {
  listen();
  timer = setTimeout(look, PAUSE_MS);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && !isOver) lookSoon();
  });
  window.addEventListener("pagehide", () => events?.close());
}
window.addEventListener("pageshow", (event) => {
  if (event.persisted && !isOver) {
    events = null;
    listen();
    lookSoon();
  }
});
