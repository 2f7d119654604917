// A connection to the gateway (docs/gateway.md) that comes back by itself, and goes on from the
// last change it was told of.

import { base, session } from "./api.js";

const intentInternal = 1 << 6;
// The pause before a connection is tried again grows from the first to the last.
const firstPause = 200, lastPause = 5_000;
// greetWithin bounds the steps of a new connection, answerWithin the answer to a heartbeat.
const greetWithin = 15_000, answerWithin = 10_000;

// What the close codes ask for. On all others the connection is resumed; 4010, a restart, is one
// of them: a resume works at any server of the store.
const refused = new Set([4004, 4014]); // the token is no good (any more), or no admin's
const outdated = new Set([4003, 4012, 4013]); // this page does not fit the server
const anew = new Set([4007, 4009]);

export class Gateway {
  // on has ready(seq, epoch) when all that changes after seq will be told, and what was before must
  // be listed; resumed() when nothing was missed; action(a); lost() when the connection is; refused()
  // and outdated(), after which it is not tried again.
  constructor(on) {
    this.on = on;
    this.pause = firstPause;
    this.heardAt = 0; // Date.now() of the last word
    this.#forget();
    addEventListener("online", () => this.check());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.check();
    });
  }

  // check is called when the connection may have been lost without a word: after a sleep, on another
  // network.
  check() {
    if (this.live) this.#beat();
    else this.#now();
  }

  start() {
    this.stopped = false;
    this.#now();
  }

  stop() {
    this.stopped = true;
    this.#forget();
    this.#drop();
  }

  #forget() {
    this.session = "";
    this.seq = 0;
  }

  #now() {
    if (this.stopped !== false || this.socket) return;
    clearTimeout(this.retry);
    this.#connect();
  }

  #connect() {
    const url = new URL("gateway?v=4&encoding=json", base);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url);
    this.socket = socket;
    this.live = false;
    this.greeting = setTimeout(() => this.#lost(), greetWithin);
    socket.onmessage = (event) => {
      if (this.socket === socket) this.#hear(JSON.parse(event.data));
    };
    socket.onclose = (event) => {
      if (this.socket === socket) this.#closed(event.code);
    };
  }

  #send(op, d) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ op, d }));
  }

  #hear({ op, t, s, d }) {
    this.heardAt = Date.now();
    clearTimeout(this.answer);
    this.answer = undefined;
    if (op === 3) return this.#greet(d.heartbeat_interval);
    if (op === 1) return this.#pace();
    if (op !== 0) return;
    if (s > this.seq) this.seq = s;
    if (t === "READY") {
      this.session = d.session_id;
      this.#up();
      this.on.ready(s, this.session.split(".")[0]);
    } else if (t === "RESUMED") {
      this.#up();
      this.on.resumed();
    } else if (t === "KAPI_ACTION_UPDATE") {
      this.on.action(d);
    }
  }

  #greet(interval) {
    this.interval = interval;
    this.resuming = this.session !== "";
    // The connection's own cookie counts, with the other half of a session if there is one.
    const token = session();
    if (this.resuming) this.#send(5, { token, session_id: this.session, seq: this.seq });
    else this.#send(4, { token, intents: intentInternal, properties: { browser: "kapi page" } });
  }

  #up() {
    clearTimeout(this.greeting);
    this.live = true;
    this.pause = firstPause;
    this.#pace();
  }

  // The next heartbeat is timed from the answer to the last, not from a timer: browsers let timers
  // that are set by timers sleep for a minute in a tab that nobody looks at.
  #pace() {
    clearTimeout(this.beating);
    this.beating = setTimeout(() => this.#beat(), 0.9 * this.interval);
  }

  #beat() {
    clearTimeout(this.beating);
    this.#send(1, this.seq);
    this.answer ??= setTimeout(() => this.#lost(), answerWithin);
  }

  #closed(code) {
    if (refused.has(code)) {
      this.stop();
      return this.on.refused();
    }
    if (outdated.has(code)) {
      this.stop();
      return this.on.outdated();
    }
    // A session that timed out can be resumed all the same, as the server keeps none: only when it
    // says so of a resume are changes missing.
    if (anew.has(code) && !this.live) this.#forget();
    this.#lost();
  }

  #lost() {
    this.#drop();
    if (this.stopped) return;
    this.retry = setTimeout(() => this.#connect(), this.pause * (0.5 + Math.random())); // not all come back at once
    this.pause = Math.min(2 * this.pause, lastPause);
    this.on.lost();
  }

  #drop() {
    const socket = this.socket;
    this.socket = undefined;
    this.live = false;
    for (const timer of [this.retry, this.greeting, this.beating, this.answer]) clearTimeout(timer);
    this.answer = undefined;
    socket?.close();
  }
}
