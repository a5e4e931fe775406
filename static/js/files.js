// Files of the workspace, as messages show them.

import { ApiError, filesApi } from "./api.js";
import { h, icon } from "./dom.js";

const SHOWN = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);
const REFERENCE = /^workspace:\/\/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:#.*)?$/i;
const known = new Map(); // id → promise of what the server says of a file; null where it is gone

/** Keep what is known of a file already. */
export function remember(file) {
  if (file.name) known.set(file.id, Promise.resolve(file));
}

function lookUp(id) {
  if (!known.has(id)) {
    const asked = filesApi(`files/${id}`).catch((error) => {
      if (!(error instanceof ApiError)) throw error;
      if (error.status !== 404) known.delete(id); // the next look may find it
      return null;
    });
    known.set(id, asked);
  }
  return known.get(id);
}

/** The address of a file's content. */
export function downloadUrl(id) {
  return `/api/workspace/files/${id}/download`;
}

/** Return the address of a file that a text names `workspace://<id>#<type>`; any other address as it is. */
export function resolved(address) {
  const found = REFERENCE.exec(address ?? "");
  return found ? downloadUrl(found[1].toLowerCase()) : address;
}

export function isImage(type) {
  return SHOWN.has(type);
}

/** 1536 → "1.5 KB" */
export function sizeWords(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  const [unit, size] = bytes < 1024 ** 2 ? ["KB", bytes / 1024] : ["MB", bytes / 1024 ** 2];
  return `${size >= 100 ? Math.round(size) : size.toFixed(1)} ${unit}`;
}

/** Make the row of a file in a message; its name and picture come when they are known. */
export function fileItem(id) {
  const item = h("li", { class: "attachment" }, h("span", { class: "attachment-name" }, "File"));
  lookUp(id).then((file) => {
    if (!file) {
      item.replaceChildren(icon("file"), h("span", { class: "attachment-name" }, "A file that was deleted"));
      return;
    }
    const link = h("a", { href: downloadUrl(id), target: "_blank", rel: "noopener" });
    if (isImage(file.mime_type)) {
      item.classList.add("is-image");
      link.append(h("img", { src: downloadUrl(id), alt: file.name, loading: "lazy", width: "128", height: "128" }));
    } else {
      const words = h("span", { class: "attachment-name" }, file.name);
      link.append(icon("file"), words, h("span", { class: "attachment-size" }, sizeWords(file.size_bytes)));
    }
    item.replaceChildren(link);
  });
  return item;
}
