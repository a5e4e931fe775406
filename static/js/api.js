// The REST API, from a signed-in page.

export class ApiError extends Error {
  constructor(status, body) {
    super(sentence(status, body));
    this.status = status;
    this.body = body;
  }
}

function sentence(status, body) {
  if (body && typeof body === "object") {
    if (typeof body.detail === "string") return body.detail;
    const [first] = Object.values(body).flat();
    if (typeof first === "string") return first;
  }
  if (status === 0) return "The server can't be reached.";
  if (status === 429) return "Too many requests. Wait a moment and try again.";
  return status >= 500 ? "The server had a problem. Try again." : "This didn't work.";
}

function csrfToken() {
  const cookie = document.cookie.split("; ").find((part) => part.startsWith("csrftoken="));
  return cookie ? decodeURIComponent(cookie.slice("csrftoken=".length)) : document.documentElement.dataset.csrf ?? "";
}

export function goToSignIn() {
  const { loginUrl } = document.getElementById("app").dataset;
  location.assign(`${loginUrl}?next=${encodeURIComponent(location.pathname + location.search)}`);
}

/**
 * Ask the chat API.
 *
 * @param {string} path  below the API's prefix
 * @throws {ApiError} status 0 when the server can't be reached
 */
export function api(path, options) {
  return ask(document.getElementById("app").dataset.api + path, options);
}

/** Ask the workspace's API; like `api`. */
export function filesApi(path, options) {
  return ask(`/api/workspace/${path}`, options);
}

/**
 * Upload a file. `fetch` doesn't tell how far it is.
 *
 * @param {File} file
 * @param {{sessionId: ?string, onProgress: (part: number) => void, signal: AbortSignal}} options
 * @returns {Promise<object>} what the API says of the stored file
 * @throws {ApiError} status 0 when the server can't be reached
 */
export function upload(file, { sessionId, onProgress, signal }) {
  const query = new URLSearchParams({ rename: "true", ...(sessionId ? { session_id: sessionId } : {}) });
  const form = new FormData();
  form.append("file", file);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/api/workspace/files?${query}`);
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("X-CSRFToken", csrfToken());
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => { if (event.lengthComputable) onProgress(event.loaded / event.total); });
    request.addEventListener("load", () => {
      if (request.status === 201) resolve(request.response);
      else reject(new ApiError(request.status, request.response));
    });
    request.addEventListener("error", () => reject(new ApiError(0, null)));
    request.addEventListener("abort", () => reject(new DOMException("The upload was stopped.", "AbortError")));
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

async function ask(address, { method = "GET", body, signal, keepalive } = {}) {
  const headers = { Accept: "application/json" };
  if (method !== "GET") headers["X-CSRFToken"] = csrfToken();
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(address, {
      method, headers, signal, keepalive, credentials: "same-origin",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, null);
  }
  if (response.status === 204) return null;
  const answer = await response.json().catch(() => null);
  if (response.ok) return answer;
  const signedOut = response.status === 401 || (response.status === 403 && /credentials/i.test(answer?.detail ?? ""));
  if (signedOut) goToSignIn();
  throw new ApiError(response.status, answer);
}
