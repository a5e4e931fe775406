// The menus of the composer: how the copilot thinks, and which model answers.

import { memory } from "./dom.js";

export class Choices {
  constructor(form) {
    this.form = form;
    for (const menu of form.querySelectorAll("details[data-choice]")) this.bind(menu);
  }

  /** What a message is sent with. */
  get values() {
    return { mode: this.form.elements.mode.value, model: this.form.elements.model.value };
  }

  bind(menu) {
    const name = menu.dataset.choice;
    const radios = [...menu.querySelectorAll("input")];
    const kept = radios.find((radio) => radio.value === memory.get(`fd:${name}`));
    if (kept) kept.checked = true;
    const show = () => {
      const chosen = radios.find((radio) => radio.checked);
      menu.querySelector(".choice-now").textContent = chosen.dataset.now ?? chosen.closest("label").querySelector("b").textContent;
      menu.classList.toggle("is-changed", chosen !== radios[0]);
    };
    menu.addEventListener("change", (event) => {
      memory.set(`fd:${name}`, event.target.value);
      show();
    });
    menu.addEventListener("toggle", () => {
      if (!menu.open) return;
      radios.find((radio) => radio.checked).focus();
    });
    menu.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.target.tagName !== "INPUT") return;
      event.preventDefault(); // a choice sends nothing
      this.close(menu);
    });
    menu.addEventListener("focusout", ({ relatedTarget }) => {
      // A pointer press inside focuses what lies around the menu: that is no leaving.
      if (!relatedTarget || menu.contains(relatedTarget) || relatedTarget.contains(menu)) return;
      setTimeout(() => { menu.open = false; });
    });
    menu.addEventListener("click", (event) => {
      // A pointer picks and is done; arrow keys look around, and the clicks they make have no detail.
      const byPointer = event.target.closest("label") && (event.target.tagName !== "INPUT" || event.detail > 0);
      if (byPointer) setTimeout(() => this.close(menu)); // after the label has done its part
    });
    show();
  }

  close(menu) {
    menu.querySelector("summary").focus();
    menu.open = false;
  }
}
