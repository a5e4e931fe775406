// What every page has: the theme switch, menus that close, copy buttons, questions before a step that can't be undone.

import { copyText, memory } from "./dom.js";

function showTheme() {
  const theme = document.documentElement.dataset.theme ?? "system";
  for (const button of document.querySelectorAll("[data-theme-choice]")) {
    button.setAttribute("aria-pressed", String(button.dataset.themeChoice === theme));
  }
}

function chooseTheme(theme) {
  const isChoice = theme === "light" || theme === "dark";
  if (isChoice) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  memory.set("fd:theme", isChoice ? theme : "");
  showTheme();
}

document.addEventListener("click", (event) => {
  const theme = event.target.closest("[data-theme-choice]");
  if (theme) chooseTheme(theme.dataset.themeChoice);
  const copy = event.target.closest("[data-copy-from]");
  if (copy) copyText(document.getElementById(copy.dataset.copyFrom).textContent.trim(), copy);
  const code = event.target.closest('[data-copy="code"]');
  if (code) copyText(code.closest(".code").querySelector("code").textContent.replace(/\n$/, ""), code);
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
    event.preventDefault(); // one key closes one thing
  }
});
document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});
window.addEventListener("storage", (event) => {
  if (event.key === "fd:theme") chooseTheme(event.newValue ?? "system");
});
showTheme();
