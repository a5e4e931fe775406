// What pages of the library add to their forms: markdown, rows of tables, fields that only some choices need.

import { MarkdownView } from "./markdown.js";

/** Show texts that look like markdown as such; without this they are plain. */
export function renderMarkdown(root) {
  for (const element of root.querySelectorAll("[data-markdown]:not(.is-rendered)")) {
    const text = element.textContent;
    element.classList.add("is-rendered");
    element.textContent = "";
    new MarkdownView(element).update(text, true);
  }
}

function addRow(button) {
  const body = button.closest("[data-table-field]").querySelector("tbody");
  const row = body.lastElementChild.cloneNode(true);
  const number = body.children.length + 1;
  for (const input of row.querySelectorAll("input")) {
    input.value = "";
    input.setAttribute("aria-label", input.getAttribute("aria-label").replace(/row \d+(?=, column \d+$)/, `row ${number}`));
  }
  body.append(row);
  row.querySelector("input").focus();
}

/** Show only the fields that a choice needs: those whose attribute has its value. */
function follow(select, attribute, root) {
  const show = () => {
    for (const field of root.querySelectorAll(`[${attribute}]`)) {
      field.hidden = !field.getAttribute(attribute).split(" ").includes(select.value);
    }
  };
  select.addEventListener("change", show);
  show();
}

function offerPresetsOf(form) {
  const agent = form.querySelector("#schedule-agent");
  const preset = form.querySelector("#schedule-preset");
  const show = () => {
    for (const option of preset.querySelectorAll("[data-agent]")) {
      option.hidden = option.disabled = option.dataset.agent !== agent.value;
      if (option.disabled && option.selected) preset.value = "";
    }
  };
  agent.addEventListener("change", show);
  show();
}

/** An address that names a step of the list opens the list. */
function openTarget() {
  const target = location.hash.startsWith("#node-") ? document.getElementById(location.hash.slice(1)) : null;
  const closed = target?.closest("details:not([open])");
  if (!closed) return;
  closed.open = true;
  target.scrollIntoView({ block: "nearest" });
  target.focus();
}

renderMarkdown(document);
for (const button of document.querySelectorAll("[data-add-row]")) {
  button.hidden = false;
  button.addEventListener("click", () => addRow(button));
}
for (const form of document.querySelectorAll("[data-schedule-form]")) {
  follow(form.querySelector("#schedule-rhythm"), "data-rhythms", form);
  offerPresetsOf(form);
}
for (const form of document.querySelectorAll("[data-credential-form]")) {
  follow(form.querySelector("#credential-type"), "data-types", form);
}
window.addEventListener("hashchange", openTarget);
openTarget();
