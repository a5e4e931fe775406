// Brings parts of a page up to date from the server's own HTML, without taking away what a person is busy with.

/** Whether a person is in the middle of something in this part. */
function isBusy(part) {
  const form = [...part.querySelectorAll("form")].find((each) => each.querySelector("textarea, input:not([type=hidden])"));
  return Boolean(form) && (part.contains(document.activeElement) || isEdited(part));
}

function isEdited(part) {
  for (const control of part.querySelectorAll("textarea, input")) {
    const before = control.type === "checkbox" ? control.defaultChecked : control.defaultValue;
    if ((control.type === "checkbox" ? control.checked : control.value) !== before) return true;
  }
  return false;
}

/**
 * Replace the parts of `root` that the server shows differently now.
 *
 * @param {Element} root  holds elements with `data-part`
 * @param {Document} fresh  the server's present answer
 * @param {Map<string, string>} known  the HTML of each part as the server last sent it; kept up to date here
 * @param {string[]} kept  parts whose elements stay; they are never replaced
 * @returns {Element[]} the parts that are new
 */
export function updateParts(root, fresh, known, kept = []) {
  const changed = [];
  for (const part of fresh.querySelectorAll("[data-part]")) {
    const name = part.dataset.part;
    const html = withoutTokens(part.outerHTML);
    if (kept.includes(name) || known.get(name) === html) continue;
    const old = root.querySelector(`[data-part="${name}"]`);
    if (old && isBusy(old)) continue;
    const focused = old?.contains(document.activeElement) ? placeOf(document.activeElement, old) : null;
    const mine = document.importNode(part, true);
    if (old) old.replaceWith(mine);
    else root.append(mine);
    known.set(name, html);
    if (focused) find(mine, focused)?.focus({ preventScroll: true });
    changed.push(mine);
  }
  return changed;
}

/** Remember the parts as they are in the page. */
export function knownParts(root) {
  return new Map([...root.querySelectorAll("[data-part]")].map((part) => [part.dataset.part, withoutTokens(part.outerHTML)]));
}

/** The form token is another one in every answer and means no change. */
export function withoutTokens(html) {
  return html.replace(/(<input type="hidden" name="csrfmiddlewaretoken" value=")[^"]*/g, "$1");
}

/** How an element can be found again in a newer version of its part: by its id or address, else by its kind. */
function placeOf(element, part) {
  if (element === part) return ":scope";
  if (element.id) return `#${CSS.escape(element.id)}`;
  const address = element.getAttribute("href");
  return address ? `a[href="${CSS.escape(address)}"]` : element.localName;
}

function find(part, place) {
  return place === ":scope" ? part : part.querySelector(place);
}
