// Draws turns. Elements are kept by key and touched only when their item's version changed.

import { endedSilently, isVisible } from "./fold.js";
import { copyText, h, icon, setChildren } from "./dom.js";
import { fileItem } from "./files.js";
import { MarkdownView } from "./markdown.js";
import { thoughtWords, toolCard, toolDetails, toolWords } from "./tools.js";

const NEAR_BOTTOM = 56; // pixels that still count as "at the bottom"
const SLOW_FRAME_MS = 8;

export class Transcript {
  /** @param {{onRetry: (turn: object) => void}} actions */
  constructor({ root, scroller, jump, actions }) {
    this.root = root;
    this.scroller = scroller;
    this.jump = jump;
    this.actions = actions;
    this.turns = [];
    this.nodes = new Map(); // turn id → its elements
    this.expanded = new Set(); // keys of open accordions; they outlive a reload of the rows
    this.follows = true;
    scroller.addEventListener("scroll", () => this.noticeScroll(), { passive: true });
    jump.addEventListener("click", () => {
      this.toBottom(true);
      document.getElementById("message").focus();
    });
    new ResizeObserver(() => { if (this.follows && this.turns.length) this.toBottom(); }).observe(scroller);
    root.addEventListener("click", (event) => this.copy(event));
  }

  /** Show these turns soon; calls within a frame become one. */
  show(turns) {
    this.turns = turns;
    if (this.frame) return;
    const draw = () => {
      clearTimeout(this.frameTimer);
      cancelAnimationFrame(this.frame);
      this.frame = null;
      this.draw();
    };
    this.frame = requestAnimationFrame(draw);
    this.frameTimer = setTimeout(draw, 400); // hidden tabs get no frames
  }

  draw() {
    const keep = new Set();
    const wanted = this.turns.map((turn) => {
      keep.add(turn.id);
      return this.turnElement(turn);
    });
    for (const id of this.nodes.keys()) if (!keep.has(id)) this.nodes.delete(id);
    setChildren(this.root, wanted);
    if (this.follows && this.turns.length) this.toBottom();
    else this.showJump();
  }

  clear() {
    this.nodes.clear();
    this.expanded.clear();
    this.turns = [];
    this.root.replaceChildren();
    this.scroller.scrollTop = 0;
    this.scrolledTo = 0;
    this.follows = true;
    this.jump.hidden = true;
  }

  /** A turn that got its real id keeps its elements. */
  rename(from, to) {
    const view = this.nodes.get(from);
    if (!view) return;
    this.nodes.delete(from);
    this.nodes.set(to, view);
  }

  /** Put older turns above without moving what is on screen. */
  showOlder(turns) {
    const before = this.scroller.scrollHeight - this.scroller.scrollTop;
    this.turns = turns;
    this.draw();
    this.scroller.scrollTop = this.scroller.scrollHeight - before;
  }

  turnElement(turn) {
    let view = this.nodes.get(turn.id);
    if (!view) {
      view = { element: h("article", { class: "turn" }), items: new Map(), headings: [], version: -1 };
      this.nodes.set(turn.id, view);
    }
    if (view.turn === turn && view.version === turn.version) return view.element;
    view.turn = turn;
    view.version = turn.version;
    this.drawTurn(turn, view);
    return view.element;
  }

  drawTurn(turn, view) {
    const visible = turn.items.filter(isVisible);
    const lastPlan = turn.items.findLast((item) => item.name === "todo_write" && item.state !== "error");
    const keys = new Set();
    const children = [];
    let headings = 0;
    let headed = false;
    for (const item of visible) {
      keys.add(item.key);
      let drawn = view.items.get(item.key);
      const plan = item === lastPlan;
      if (!drawn) {
        drawn = MAKERS[item.kind](item, this);
        view.items.set(item.key, drawn);
      }
      if (drawn.item !== item || drawn.version !== item.version || drawn.plan !== plan) {
        if (!this.isTooEarly(drawn, item, turn)) {
          drawn.plan = plan;
          drawn.item = item;
          const began = performance.now();
          drawn.update(item, plan);
          drawn.version = item.version;
          drawn.cost = performance.now() - began;
          drawn.at = performance.now();
        }
      }
      if (item.kind === "user") headed = false;
      else if (!headed) {
        headed = true;
        view.headings[headings] ??= h("h2", { class: "sr-only" }, "Copilot");
        children.push(view.headings[headings]);
        headings += 1;
      }
      children.push(drawn.element);
    }
    for (const key of view.items.keys()) if (!keys.has(key)) view.items.delete(key);
    children.push(...this.tailOf(turn, view, visible.at(-1)));
    setChildren(view.element, children);
  }

  /** A block that is slow to draw is drawn less often, so that the page stays quick. */
  isTooEarly(drawn, item, turn) {
    if (!item.open || drawn.item !== item || !(drawn.cost > SLOW_FRAME_MS)) return false;
    const wait = drawn.cost * 5 - (performance.now() - drawn.at);
    if (wait <= 0) return false;
    clearTimeout(drawn.timer);
    drawn.timer = setTimeout(() => {
      turn.version += 1;
      this.show(this.turns);
    }, wait);
    return true;
  }

  tailOf(turn, view, last) {
    const tail = [];
    if (turn.status !== "done") {
      const runs = last?.kind === "tool" && last.state === "running";
      const speaks = (last?.kind === "text" && last.open) || runs; // what happens can be seen above
      const isNews = turn.statusLine && !(runs && sameWords(turn.statusLine, toolWords(last).label));
      if (turn.status !== "sending" && (!speaks || isNews)) {
        const words = turn.statusLine || (turn.status === "queued" ? "Starting…" : last?.kind === "reasoning" && last.open ? "Thinking…" : "Working…");
        view.working ??= h("p", { class: "working" }, h("span", { class: "dots", "aria-hidden": "true" }, h("i"), h("i"), h("i")), h("span", { class: "working-text" }));
        const line = view.working.lastChild;
        if (line.textContent !== words) line.textContent = words;
        tail.push(view.working);
      }
      return tail;
    }
    if (turn.notice) {
      const { kind, text, retryable } = turn.notice;
      const kept = kind === "error" ? keptWords(turn) : "";
      const key = `${kind} ${text} ${kept}`;
      if (view.noticeKey !== key) {
        view.noticeKey = key;
        const retry = kind === "error" && retryable && h("button", { type: "button", class: "button small", onclick: () => this.actions.onRetry(turn) }, icon("retry"), "Retry");
        view.notice = h("div", { class: `notice is-${kind}` }, icon(kind === "error" ? "alert" : "stop-circle"), h("p", {}, [text, kept].filter(Boolean).join(" ")), retry || "");
      }
      tail.push(view.notice);
    } else if (endedSilently(turn)) {
      tail.push((view.silent ??= h("div", { class: "notice is-stopped" }, icon("stop-circle"), h("p", {}, "The copilot ended without writing an answer."))));
    }
    if (turn.items.some((item) => item.kind === "text" && isVisible(item))) {
      view.tools ??= h("div", { class: "turn-tools" }, h("button", { type: "button", class: "icon-button copy", "data-copy": "answer", "aria-label": "Copy answer", title: "Copy answer" }, icon("copy", "when-idle"), icon("check", "when-copied")));
      view.tools.dataset.turn = turn.id;
      tail.push(view.tools);
    }
    return tail;
  }

  copy(event) {
    const button = event.target.closest('[data-copy="answer"]');
    if (!button) return;
    const turn = this.turns.find((other) => other.id === button.parentElement.dataset.turn);
    copyText(turn.items.filter((item) => item.kind === "text").map((item) => item.text).join("\n\n"), button);
  }

  toggle(key, open) {
    if (open) this.expanded.add(key);
    else this.expanded.delete(key);
  }

  noticeScroll() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    const up = scrollTop < (this.scrolledTo ?? 0);
    this.scrolledTo = scrollTop;
    const near = scrollHeight - scrollTop - clientHeight < NEAR_BOTTOM;
    if (near) this.follows = true;
    else if (up) this.follows = false;
    this.showJump();
  }

  showJump() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    this.jump.hidden = this.follows || scrollHeight - scrollTop - clientHeight < NEAR_BOTTOM;
  }

  toBottom(smooth = false) {
    this.follows = true;
    this.jump.hidden = true;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.scroller.scrollTo({ top: this.scroller.scrollHeight, behavior: smooth && !still ? "smooth" : "instant" });
  }
}

/** Say what an answer that failed leaves behind. */
function keptWords(turn) {
  const said = turn.items.some((item) => item.kind !== "user" && isVisible(item));
  return said ? "What you see above is kept." : "Your message is kept.";
}

function sameWords(one, other) {
  const plain = (text) => text.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, " ").replace(/^(\S+) www /, "$1 ").trim();
  return plain(one) === plain(other);
}

let accordions = 0;

function accordion(transcript, key, className) {
  const id = `accordion-${(accordions += 1)}`;
  const button = h("button", { type: "button", class: "accordion", "aria-expanded": "false", "aria-controls": id });
  const panel = h("div", { class: "accordion-panel", id });
  panel.hidden = true;
  const element = h("section", { class: className }, button, panel);
  const set = (open) => {
    button.setAttribute("aria-expanded", String(open));
    panel.hidden = !open;
  };
  const view = { element, button, panel, isOpen: () => !panel.hidden, onOpen: () => {} };
  button.addEventListener("click", () => {
    set(panel.hidden);
    transcript.toggle(key, !panel.hidden);
    if (!panel.hidden) view.onOpen();
  });
  if (transcript.expanded.has(key)) set(true);
  return view;
}

const MAKERS = {
  user() {
    const bubble = h("div", { class: "bubble" });
    const note = h("p", { class: "bubble-note" });
    const files = h("ul", { class: "attachments", "aria-label": "Attached files" });
    const element = h("div", { class: "user" }, h("h2", { class: "sr-only" }, "You"), files, bubble, note);
    let shown = "";
    return {
      element,
      update(item) {
        bubble.textContent = item.text;
        const ids = item.fileIds ?? [];
        if (shown !== ids.join()) files.replaceChildren(...ids.map(fileItem));
        shown = ids.join();
        files.hidden = ids.length === 0;
        element.classList.toggle("is-pending", item.state !== "sent");
        note.textContent = item.state === "sending" ? "Sending…" : "";
        note.hidden = item.state === "sent";
      },
    };
  },
  text() {
    const element = h("div", { class: "prose" });
    const view = new MarkdownView(element);
    return { element, update: (item) => view.update(item.text, !item.open) };
  },
  reasoning(first, transcript) {
    const { element, button, panel, ...rest } = accordion(transcript, first.key, "reasoning");
    const words = h("span", {});
    const time = h("span", { class: "tool-outcome" });
    const body = h("div", { class: "prose is-quiet" });
    const view = new MarkdownView(body);
    button.append(h("span", { class: "tool-sign" }, icon("thought")), words, time, icon("chevron", "turns"));
    panel.append(body);
    let item = first;
    const fill = () => {
      words.textContent = `${panel.hidden ? "Show" : "Hide"} reasoning`;
      time.textContent = thoughtWords(item.durationMs);
      if (!panel.hidden) view.update(item.text, !item.open);
    };
    button.addEventListener("click", fill);
    return { element, ...rest, update(now) { item = now; fill(); } };
  },
  tool(first, transcript) {
    const view = accordion(transcript, first.key, "tool");
    const { element, button, panel } = view;
    const sign = h("span", { class: "tool-sign" });
    const label = h("span", { class: "tool-label" });
    const outcome = h("span", { class: "tool-outcome" });
    button.append(sign, label, outcome, icon("chevron", "turns"));
    let item = first;
    let card = null;
    const fill = () => { if (!panel.hidden) panel.replaceChildren(...toolDetails(item)); };
    view.onOpen = fill;
    return {
      element,
      update(now, plan) {
        item = now;
        const words = toolWords(item);
        element.dataset.state = item.state;
        sign.replaceChildren(item.state === "running" ? h("span", { class: "spinner" }) : icon(item.state === "error" ? "alert" : words.icon));
        label.textContent = words.label;
        outcome.textContent = words.outcome;
        fill();
        card?.remove();
        card = plan ? toolCard(item) : null;
        if (card) element.append(card);
      },
    };
  },
};
