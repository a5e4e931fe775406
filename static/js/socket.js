// One websocket a tab. It comes back by itself; whoever listens re-subscribes on `open`.

const FIRST_DELAY_MS = 250;
const LONGEST_DELAY_MS = 5000;
const TOO_MANY_DELAY_MS = 30000;
const NOTICE_AFTER_MS = 2000;
const PING_EVERY_MS = 25000;
const PONG_WITHIN_MS = 10000;

/** Dispatches `open`, `frame` (detail: the frame), `state` (detail: {kind, text}) and `signed-out`. */
export class ChatSocket extends EventTarget {
  constructor(url) {
    super();
    this.url = url;
    this.socket = null;
    this.attempts = 0;
    this.isOpen = false;
    this.stopped = false;
    this.state = { kind: "connecting", text: "" };
    window.addEventListener("online", () => this.hurry());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.hurry();
    });
    window.addEventListener("pageshow", (event) => { if (event.persisted) this.hurry(); });
  }

  connect() {
    clearTimeout(this.retryTimer);
    if (this.socket || this.stopped) return;
    const socket = new WebSocket(this.url);
    this.socket = socket;
    this.lateTimer ??= setTimeout(() => {
      this.say("reconnecting", this.attempts ? "Reconnecting…" : "Connecting…");
    }, NOTICE_AFTER_MS);
    socket.addEventListener("open", () => {
      if (socket !== this.socket) return;
      this.isOpen = true;
      this.heardAt = performance.now();
      this.pingTimer = setInterval(() => this.ping(), PING_EVERY_MS);
      this.ping(); // a server that refuses accepts first: only an answer proves the connection
      this.dispatchEvent(new Event("open"));
    });
    socket.addEventListener("message", (event) => {
      if (socket !== this.socket) return;
      this.heardAt = performance.now();
      this.settle();
      let frame;
      try {
        frame = JSON.parse(event.data);
      } catch {
        return;
      }
      if (frame.type !== "pong") this.dispatchEvent(new CustomEvent("frame", { detail: frame }));
    });
    socket.addEventListener("close", (event) => { if (socket === this.socket) this.closed(event.code); });
  }

  settle() {
    this.attempts = 0;
    clearTimeout(this.lateTimer);
    this.lateTimer = null;
    if (this.state.kind !== "open") this.say("open", "");
  }

  send(frame) {
    if (!this.isOpen) return false;
    this.socket.send(JSON.stringify(frame));
    return true;
  }

  /** Drop a connection that doesn't answer, and make a new one. */
  renew() {
    const socket = this.socket;
    if (!socket) return this.connect();
    this.closed(1006);
    socket.close();
    return this.hurry();
  }

  hurry() {
    if (this.stopped) return;
    if (!this.socket) {
      if (this.state.kind !== "crowded") this.connect();
    } else if (this.isOpen) this.ping(); // a laptop that slept may hold a dead connection
  }

  ping() {
    if (!this.send({ type: "ping" })) return;
    const sentAt = performance.now();
    const socket = this.socket;
    setTimeout(() => {
      if (socket === this.socket && this.heardAt < sentAt) this.renew();
    }, PONG_WITHIN_MS);
  }

  closed(code) {
    const wasOpen = this.isOpen;
    this.socket = null;
    this.isOpen = false;
    clearInterval(this.pingTimer);
    if (wasOpen) this.dispatchEvent(new Event("lost"));
    if (code === 4401) {
      this.stopped = true;
      this.dispatchEvent(new Event("signed-out"));
    } else if (code === 4403) {
      this.stop("This address isn't allowed to connect. Open Flightdeck at its own address, or ask its operator.");
    } else if (code === 4400) {
      this.stop("The connection was closed because the page sent something wrong. Reload the page.");
    } else if (code === 4429) {
      clearTimeout(this.lateTimer);
      this.lateTimer = null;
      this.say("crowded", "Flightdeck is open in too many tabs. Close some of them.");
      this.retryTimer = setTimeout(() => this.connect(), TOO_MANY_DELAY_MS * (0.8 + 0.4 * Math.random()));
    } else {
      this.lateTimer ??= setTimeout(() => this.say("reconnecting", "Reconnecting…"), NOTICE_AFTER_MS);
      const delay = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** this.attempts);
      this.attempts += 1;
      this.retryTimer = setTimeout(() => this.connect(), delay * (0.5 + 0.5 * Math.random()));
    }
  }

  stop(text) {
    this.stopped = true;
    clearTimeout(this.lateTimer);
    this.say("stopped", text);
  }

  say(kind, text) {
    this.state = { kind, text };
    this.dispatchEvent(new CustomEvent("state", { detail: this.state }));
  }
}
