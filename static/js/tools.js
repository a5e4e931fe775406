// What a tool call looks like: its words, its details, its cards.

import { h, icon } from "./dom.js";

const LONGEST_SHOWN = 20000; // characters of an input or output

const TOOLS = {
  web_fetch: {
    icon: "globe",
    label({ input, state }) {
      const host = hostOf(input?.url);
      return { running: `Reading ${host}`, error: `Couldn't read ${host}` }[state] ?? `Read ${host}`;
    },
    outcome: ({ output }) => output?.title || (output?.status_code ? `Status ${output.status_code}` : ""),
    details: ({ input, output }) => [["Led to", output.url === input?.url ? "" : output.url], ["Content", output.content]],
  },
  todo_write: {
    icon: "list",
    label: ({ state }) => ({ running: "Updating the plan", error: "Couldn't update the plan" }[state] ?? "Updated the plan"),
    outcome({ output, input }) {
      const todos = todosOf({ output, input });
      return todos.length ? `${todos.filter((todo) => todo.status === "completed").length} of ${todos.length} done` : "";
    },
    details: () => [], // the card shows it
  },
};

function hostOf(url) {
  try {
    return new URL(url).host.replace(/^www\./, "") || "a page";
  } catch {
    return "a page";
  }
}

function todosOf({ output, input }) {
  const todos = output?.todos ?? input?.todos;
  return Array.isArray(todos) ? todos.filter((todo) => todo && typeof todo.content === "string") : [];
}

function spoken(name) {
  const words = String(name).replace(/^mcp__/, "").replace(/[_-]+/g, " ").trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Return the row's words: what ran, and how it ended. */
export function toolWords(item) {
  const tool = TOOLS[item.name];
  const label = tool ? tool.label(item) : spoken(item.name);
  const outcome = {
    running: () => "",
    stopped: () => "Stopped",
    error: () => oneLine(item.output?.message ?? item.output) || "Failed",
    done: () => oneLine(tool?.outcome?.(item)) || "Done",
  }[item.state]();
  return { icon: tool?.icon ?? "wrench", label, outcome };
}

function oneLine(value) {
  const text = typeof value === "string" ? value.split("\n", 1)[0] : "";
  return text.length > 90 ? `${text.slice(0, 89)}…` : text;
}

function pretty(value) {
  if (typeof value === "string") return value;
  const keys = Object.keys(value ?? {});
  if (keys.length === 1 && typeof value[keys[0]] === "string") return value[keys[0]];
  return JSON.stringify(value, null, 2);
}

function section(title, value) {
  const text = pretty(value);
  const shown = text.length > LONGEST_SHOWN ? `${text.slice(0, LONGEST_SHOWN)}\n… (${text.length - LONGEST_SHOWN} more characters)` : text;
  return h("div", { class: "tool-part" }, h("h3", {}, title), h("pre", { tabindex: "0", role: "group", "aria-label": title }, shown));
}

/** Return what the row's accordion holds. */
export function toolDetails(item) {
  const parts = [];
  const input = item.whole ? item.input : item.inputText;
  if (input && (typeof input === "string" || Object.keys(input).length)) parts.push(section("Input", input));
  if (item.state === "stopped") parts.push(h("p", { class: "muted" }, item.reason || "This call was stopped; it has no result."));
  if (item.state === "error") parts.push(section("Error", item.output?.message ?? item.output ?? ""));
  if (item.state === "done") {
    const own = TOOLS[item.name]?.details?.(item);
    for (const [title, value] of own ?? [["Output", item.output]]) if (value) parts.push(section(title, value));
  }
  return parts.length ? parts : [h("p", { class: "muted" }, "No details yet.")];
}

/** Return how long the copilot thought; "" where that is not worth a word. */
export function thoughtWords(durationMs) {
  const seconds = Math.round((durationMs ?? 0) / 1000);
  if (seconds < 1) return "";
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

const TODO_STATES = {
  completed: ["check-circle", "Done"],
  in_progress: ["half-circle", "In progress"],
  pending: ["circle", "To do"],
};

/** Return the card below the row, or null. */
export function toolCard(item) {
  if (item.name !== "todo_write" || item.state === "error" || item.state === "stopped") return null;
  const todos = todosOf(item);
  if (!todos.length) return null;
  const rows = todos.map((todo) => {
    const [name, state] = TODO_STATES[todo.status] ?? TODO_STATES.pending;
    const words = todo.status === "in_progress" && todo.activeForm ? todo.activeForm : todo.content;
    return h("li", { class: `todo is-${todo.status}` }, icon(name), h("span", { class: "sr-only" }, `${state}: `), h("span", {}, words));
  });
  return h("div", { class: "card plan" }, h("h3", { class: "card-title" }, "Plan"), h("ul", {}, ...rows));
}
