// How much of the allowance is used: bars, a hint near the limit, and the paid reset at it.

import { ApiError, api } from "./api.js";
import { toast } from "./dom.js";

const NEAR = 80;
const WINDOWS = {
  daily: { of: "today", whose: "Today’s" },
  weekly: { of: "this week", whose: "This week’s" },
};

/** Return when something resets, as a person would say it now. */
export function timeWords(iso, now = new Date()) {
  const date = new Date(iso);
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const start = (day) => new Date(day.getFullYear(), day.getMonth(), day.getDate());
  const days = Math.round((start(date) - start(now)) / 86400000);
  if (days <= 0) return `at ${time}`;
  if (days === 1) return `tomorrow at ${time}`;
  return `on ${date.toLocaleDateString("en", { weekday: "long" })} at ${time}`;
}

/** Return what is said where a window of the allowance is used up. */
export function usedUp(window, resetsAt, now = new Date()) {
  const whose = WINDOWS[window]?.whose ?? "Your";
  return `${whose} allowance is used up.${resetsAt ? ` It resets ${timeWords(resetsAt, now)}.` : ""}`;
}

/** Return the sentence for somebody who is near the limit; "" for everybody else. */
export function nearLimit(usage, now = new Date()) {
  const near = Object.keys(WINDOWS).filter((name) => usage[name]?.percent_used >= NEAR);
  if (!near.length) return "";
  const [name] = near.sort((one, other) => usage[other].percent_used - usage[one].percent_used);
  const { percent_used: percent, resets_at: resetsAt } = usage[name];
  return `${percentWords(percent)} of ${WINDOWS[name].whose.toLowerCase()} allowance is used. It resets ${timeWords(resetsAt, now)}.`;
}

function percentWords(percent) {
  return `${percent < 100 ? Math.min(99, Math.round(percent)) : 100}\u00a0%`;
}

function credits(amount) {
  return `${amount.toLocaleString()} ${amount === 1 ? "credit" : "credits"}`;
}

export class Usage {
  constructor() {
    this.section = document.getElementById("usage");
    this.hint = document.getElementById("usage-hint");
    this.banner = document.getElementById("usage-banner");
    this.dialog = document.getElementById("usage-dialog");
    this.usage = null;
    this.banner.querySelector("button").addEventListener("click", () => this.ask());
    this.dialog.querySelector("[data-reset]").addEventListener("click", () => this.reset());
    for (const button of this.dialog.querySelectorAll("[data-close]")) {
      button.addEventListener("click", () => this.dialog.close());
    }
  }

  async load() {
    try {
      this.show(await api("usage"));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 404) this.section.hidden = true; // what was shown stays when the server can't be asked
    }
  }

  show(usage) {
    this.usage = usage;
    for (const name of Object.keys(WINDOWS)) this.showWindow(name, usage[name]);
    this.section.hidden = !usage.daily && !usage.weekly;
    const spent = Object.keys(WINDOWS).filter((name) => usage[name]?.percent_used >= 100);
    this.showBanner(spent);
    const near = spent.length ? "" : nearLimit(usage);
    this.hint.hidden = !near;
    if (this.hint.textContent !== near) this.hint.textContent = near;
    this.loadAtReset();
  }

  showWindow(name, part) {
    const row = this.section.querySelector(`[data-window="${name}"]`);
    row.hidden = !part;
    if (!part) return;
    const percent = Math.max(0, Math.min(100, part.percent_used));
    const meter = row.querySelector("[role=meter]");
    row.querySelector(".usage-percent").textContent = percentWords(percent);
    row.querySelector(".usage-reset").textContent = `Resets ${timeWords(part.resets_at)}`;
    meter.setAttribute("aria-valuenow", String(percent));
    meter.setAttribute("aria-valuetext", `${percentWords(percent)} used`);
    meter.firstElementChild.style.width = `${percent}%`;
    meter.dataset.level = percent >= 100 ? "full" : percent >= NEAR ? "near" : "fine";
  }

  showBanner(spent) {
    this.banner.hidden = spent.length === 0;
    if (!spent.length) return;
    const name = spent.at(-1); // the week outlasts the day
    const words = usedUp(name, this.usage[name].resets_at);
    const line = this.banner.querySelector(".usage-banner-text");
    if (line.textContent !== words) line.textContent = words;
    const button = this.banner.querySelector("button");
    button.hidden = !(this.usage.reset_cost > 0 && spent.includes("daily"));
    button.textContent = `Reset for ${credits(this.usage.reset_cost ?? 0)}`;
  }

  loadAtReset() {
    clearTimeout(this.timer);
    const times = Object.keys(WINDOWS).flatMap((name) => (this.usage[name] ? [new Date(this.usage[name].resets_at) - Date.now()] : []));
    const next = Math.min(...times.filter((ms) => ms > 0));
    if (Number.isFinite(next)) this.timer = setTimeout(() => this.load(), next + 1000);
  }

  // The paid reset

  ask() {
    this.say("");
    this.dialog.querySelector("[data-price]").textContent = credits(this.usage.reset_cost);
    this.dialog.showModal();
  }

  say(text) {
    const line = this.dialog.querySelector("[role=alert]");
    line.textContent = text;
    line.hidden = !text;
  }

  async reset() {
    const button = this.dialog.querySelector("[data-reset]");
    button.disabled = true;
    try {
      const { credits_charged: charged, remaining_balance: left, usage } = await api("usage/reset", { method: "POST", body: {} });
      this.dialog.close();
      this.show(usage);
      toast(`Today’s allowance starts anew. It cost ${credits(charged)}; ${credits(left)} left.`, { ms: 8000 });
      document.getElementById("message").focus();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.say(error.status === 402 && !error.body?.detail ? "You don’t have enough credits." : error.message);
      this.load();
    } finally {
      button.disabled = false;
    }
  }
}
