// The sidebar: chats by day, search, rename, delete with undo.

import { ApiError, api } from "./api.js";
import { announce, h, icon, memory, setChildren, toast } from "./dom.js";

const PAGE = 50;
const UNDO_MS = 6000;
const SEARCH_AFTER_MS = 250;
const DAY_MS = 86400000;
const GONE = "fd:gone";

export function titleOf(session) {
  return session?.title?.trim() || "New chat";
}

function startOfDay(date) {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
}

/** Return the heading of a day, as a person would say it today. */
export function dayName(iso, now = new Date()) {
  const date = new Date(iso);
  const days = Math.round((startOfDay(now) - startOfDay(date)) / DAY_MS);
  if (days <= 0) return "Today";
  if (days === 1) return "Yesterday";
  if (days < 7) return date.toLocaleDateString("en", { weekday: "long" });
  const year = date.getFullYear() === now.getFullYear() ? undefined : "numeric";
  return date.toLocaleDateString("en", { day: "numeric", month: "long", year });
}

/** Dispatches `open` (detail: session id), `new`, `deleted` (detail: session id), `restored`, `renamed`. */
export class Sidebar extends EventTarget {
  constructor(root) {
    super();
    this.list = root.querySelector("#session-list");
    this.search = root.querySelector("#session-search");
    this.more = root.querySelector("#session-more");
    this.state = root.querySelector("#session-state");
    this.menu = document.getElementById("session-menu");
    this.sessions = [];
    this.total = 0;
    this.currentId = null;
    this.nodes = new Map();
    this.groups = new Map();
    this.deleting = new Map();
    this.gone = new Set((memory.get(GONE, "session") ?? "").split(" "));
    memory.set(GONE, "", "session");
    this.ticket = 0;
    this.search.addEventListener("input", () => {
      clearTimeout(this.searchTimer);
      this.searchTimer = setTimeout(() => this.load(), SEARCH_AFTER_MS);
    });
    this.more.addEventListener("click", () => this.load({ append: true }));
    this.list.addEventListener("click", (event) => this.clicked(event));
    this.bindMenu();
    window.addEventListener("pagehide", () => {
      // The next page may ask for the list before these are gone.
      memory.set(GONE, [...this.deleting.keys()].join(" "), "session");
      for (const [id, entry] of this.deleting) this.remove(id, entry, true);
    });
  }

  get query() {
    return this.search.value.trim();
  }

  async load({ append = false } = {}) {
    const ticket = (this.ticket += 1);
    const query = this.query;
    const parameters = new URLSearchParams({ limit: PAGE, offset: append ? this.sessions.length + this.deleting.size : 0 });
    if (query) parameters.set("search", query);
    this.more.disabled = true;
    try {
      const page = await api(`sessions?${parameters}`);
      if (ticket !== this.ticket) return;
      const known = new Set(append ? this.sessions.map((session) => session.id) : []);
      const fresh = page.sessions.filter((session) => !known.has(session.id) && !this.isGone(session.id));
      this.sessions = append ? [...this.sessions, ...fresh] : fresh;
      this.total = page.total - this.deleting.size;
      this.say(this.sessions.length ? "" : query ? `No chat matches “${query}”.` : "Your chats will appear here.");
      if (query && !append) announce(page.total === 1 ? "1 chat found" : `${page.total} chats found`);
      this.draw();
      this.tellMeta();
    } catch (error) {
      if (!(error instanceof ApiError) || ticket !== this.ticket) return;
      this.say(`The list can't be loaded. ${error.message}`);
      if (!this.sessions.length) setTimeout(() => { if (ticket === this.ticket) this.load(); }, 5000);
    } finally {
      this.more.disabled = false;
    }
  }

  say(text) {
    this.state.textContent = text;
    this.state.hidden = !text;
  }

  tellMeta() {
    const current = this.find(this.currentId);
    if (current) this.dispatchEvent(new CustomEvent("renamed", { detail: current }));
  }

  isGone(id) {
    return this.deleting.has(id) || this.gone.has(id);
  }

  find(id) {
    return this.sessions.find((session) => session.id === id) ?? null;
  }

  /** Take in what the socket or a request says about one chat. */
  update(change) {
    if (this.deleting.has(change.id)) return;
    let session = this.find(change.id);
    if (!session) {
      if (this.query) return;
      session = { id: change.id, title: "", updated_at: new Date().toISOString(), is_processing: false };
      this.sessions.push(session);
      this.total += 1;
      this.say("");
    }
    for (const key of ["title", "updated_at", "is_processing"]) if (change[key] !== undefined) session[key] = change[key];
    this.sessions.sort((a, b) => new Date(b.updated_at) - new Date(a.updated_at));
    this.draw();
    if (session.id === this.currentId) this.tellMeta();
  }

  /** A chat was deleted elsewhere. */
  forget(id) {
    if (this.deleting.has(id)) return;
    const before = this.sessions.length;
    this.sessions = this.sessions.filter((session) => session.id !== id);
    this.total -= before - this.sessions.length;
    this.nodes.delete(id);
    this.draw();
  }

  setCurrent(id) {
    this.currentId = id;
    this.draw();
  }

  draw() {
    const groups = new Map();
    for (const session of this.sessions) {
      const day = dayName(session.updated_at);
      if (!groups.has(day)) groups.set(day, []);
      groups.get(day).push(this.row(session));
    }
    const sections = [...groups].map(([day, rows]) => {
      let group = this.groups.get(day);
      if (!group) {
        const list = h("ul", {});
        group = { list, element: h("section", { class: "day" }, h("h3", {}, day), list) };
        this.groups.set(day, group);
      }
      setChildren(group.list, rows);
      return group.element;
    });
    // A row that moves loses the focus; give it back.
    const focused = this.list.contains(document.activeElement) ? document.activeElement : null;
    setChildren(this.list, sections);
    if (focused && document.activeElement !== focused && focused.isConnected) focused.focus();
    this.more.hidden = this.sessions.length >= this.total;
  }

  row(session) {
    let row = this.nodes.get(session.id);
    if (!row) {
      const words = h("span", { class: "session-title" });
      const working = h("span", { class: "spinner", role: "img", "aria-label": "Working" });
      const link = h("a", { class: "session-link", href: `?session=${session.id}`, "data-session": session.id }, words, working);
      const menu = h("button", { type: "button", class: "icon-button session-more", "aria-haspopup": "menu", "aria-expanded": "false", "data-menu": session.id }, icon("dots"));
      row = { element: h("li", { class: "session" }, link, menu), words, working, link, menu };
      this.nodes.set(session.id, row);
    }
    const title = titleOf(session);
    if (row.words.textContent !== title) {
      row.words.textContent = title;
      row.link.title = title;
      row.menu.setAttribute("aria-label", `Options of “${title}”`);
    }
    row.working.hidden = !session.is_processing;
    const isCurrent = session.id === this.currentId;
    row.element.classList.toggle("is-current", isCurrent);
    if (isCurrent) row.link.setAttribute("aria-current", "page");
    else row.link.removeAttribute("aria-current");
    return row.element;
  }

  clicked(event) {
    const button = event.target.closest("[data-menu]");
    if (button) {
      this.openMenu(button);
      return;
    }
    const link = event.target.closest("[data-session]");
    if (!link || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    this.dispatchEvent(new CustomEvent("open", { detail: link.dataset.session }));
  }

  // The menu of a row

  bindMenu() {
    const items = [...this.menu.querySelectorAll("[role=menuitem]")];
    this.menu.addEventListener("keydown", (event) => {
      const place = items.indexOf(document.activeElement);
      const target = { ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: -1 }[event.key];
      if (target !== undefined) {
        event.preventDefault();
        items.at(target % items.length).focus();
      } else if (event.key === "Escape" || event.key === "Tab") {
        event.stopPropagation();
        if (event.key === "Escape") event.preventDefault();
        this.closeMenu(true);
      }
    });
    this.menu.addEventListener("click", (event) => {
      const action = event.target.closest("[role=menuitem]")?.dataset.action;
      const id = this.menuFor?.dataset.menu;
      if (!action || !id) return;
      this.closeMenu(true);
      if (action === "rename") this.rename(id);
      else this.delete(id);
    });
    document.addEventListener("pointerdown", (event) => {
      if (this.menuFor && !this.menu.contains(event.target) && !this.menuFor.contains(event.target)) this.closeMenu(false);
    });
    this.list.parentElement.addEventListener("scroll", () => this.closeMenu(false), { passive: true });
  }

  openMenu(button) {
    const again = this.menuFor === button;
    this.closeMenu(false);
    if (again) return;
    this.menuFor = button;
    button.setAttribute("aria-expanded", "true");
    this.menu.hidden = false;
    const place = button.getBoundingClientRect();
    const top = Math.min(place.bottom + 4, window.innerHeight - this.menu.offsetHeight - 8);
    const left = Math.min(place.right - this.menu.offsetWidth, window.innerWidth - this.menu.offsetWidth - 8);
    this.menu.style.top = `${top}px`;
    this.menu.style.left = `${Math.max(8, left)}px`;
    this.menu.querySelector("[role=menuitem]").focus();
  }

  closeMenu(giveFocus) {
    if (!this.menuFor) return;
    this.menu.hidden = true;
    this.menuFor.setAttribute("aria-expanded", "false");
    if (giveFocus) this.menuFor.focus();
    this.menuFor = null;
  }

  rename(id) {
    const session = this.find(id);
    const row = this.nodes.get(id);
    if (!session || !row) return;
    const input = h("input", { class: "session-rename", maxlength: "200", "aria-label": "Name of the chat" });
    input.value = titleOf(session);
    row.link.hidden = true;
    row.element.prepend(input);
    input.focus();
    input.select();
    let isOver = false;
    const end = async (keep) => {
      if (isOver) return;
      isOver = true;
      const hadFocus = document.activeElement === input;
      const title = input.value.trim();
      input.remove();
      row.link.hidden = false;
      if (hadFocus) row.link.focus();
      if (!keep || !title || title === session.title) return;
      const before = session.title;
      this.update({ id, title });
      try {
        await api(`sessions/${id}/title`, { method: "PATCH", body: { title } });
        announce("Renamed");
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        this.update({ id, title: before });
        toast(`The chat wasn't renamed. ${error.message}`);
      }
    };
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.isComposing) end(true);
      if (event.key === "Escape") {
        event.stopPropagation();
        end(false);
      }
    });
    input.addEventListener("blur", () => end(true));
  }

  delete(id) {
    const session = this.find(id);
    if (!session) return;
    const place = this.sessions.indexOf(session);
    const next = this.sessions[place + 1] ?? this.sessions[place - 1];
    this.sessions = this.sessions.filter((other) => other !== session);
    this.total -= 1;
    const entry = { session };
    this.deleting.set(id, entry);
    this.draw();
    if (next) this.nodes.get(next.id)?.link.focus();
    else document.getElementById("new-chat").focus();
    const close = toast("Chat deleted", {
      action: "Undo",
      ms: UNDO_MS,
      onAction: () => {
        clearTimeout(entry.timer);
        this.deleting.delete(id);
        this.sessions.push(session);
        this.total += 1;
        this.update({ id });
        this.nodes.get(id)?.link.focus();
        this.dispatchEvent(new CustomEvent("restored", { detail: id }));
      },
    });
    announce("Chat deleted. Undo is possible for a few seconds.");
    entry.timer = setTimeout(() => { close(); this.remove(id, entry); }, UNDO_MS);
    this.dispatchEvent(new CustomEvent("deleted", { detail: id }));
  }

  async remove(id, { session, timer }, keepalive = false) {
    clearTimeout(timer);
    try {
      await api(`sessions/${id}`, { method: "DELETE", keepalive });
      memory.set(`fd:draft:${id}`, "");
      this.nodes.delete(id);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status === 404) return;
      this.deleting.delete(id);
      this.sessions.push(session);
      this.total += 1;
      this.update({ id });
      toast(`The chat wasn't deleted. ${error.message}`);
    }
  }
}
