// A connection to the gateway (docs/gateway.md) that reconnects by itself, and resumes after the last
// change that it got.

import { base, session } from "./api.js";

const intentInternal = 1 << 6;
// The pause before reconnecting grows from firstPause to lastPause.
const firstPause = 200, lastPause = 5_000;
// greetWithin bounds the steps of a new connection, answerWithin the answer to a heartbeat.
const greetWithin = 15_000, answerWithin = 10_000;

// What to do on some close codes. On all others the session is resumed, including 4010 (a restart),
// because any server of the store can resume it.
const refused = new Set([4004, 4014]); // the token is not valid, or not an admin's
const outdated = new Set([4003, 4012, 4013]); // this page does not fit the server
const anew = new Set([4007, 4009]);

export class Gateway {
  // on has callbacks: ready(seq, epoch) when all changes after seq will come, while the state up to there
  // must be loaded as a list; resumed() when nothing was missed; action(a) for a change; lost() when the
  // connection is lost; refused() and outdated(), after which it doesn't reconnect.
  constructor(on) {
    this.on = on;
    this.pause = firstPause;
    this.heardAt = 0; // Date.now() of the last message
    this.#forget();
    addEventListener("online", () => this.check());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.check();
    });
  }

  // check is called when the connection may have been lost silently: after a sleep, or when the network
  // has changed.
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
    // The cookie authenticates the connection, together with the other half of a session if there is one.
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

  // The next heartbeat is scheduled by the answer to the last one, not by a timer: in a hidden tab browsers
  // delay timers that were set by timers by up to a minute.
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
    // After a timeout the session can still be resumed, as the server keeps no session state. Changes are
    // missing only if the server refuses a resume with this code.
    if (anew.has(code) && !this.live) this.#forget();
    this.#lost();
  }

  #lost() {
    this.#drop();
    if (this.stopped) return;
    this.retry = setTimeout(() => this.#connect(), this.pause * (0.5 + Math.random())); // so that clients don't reconnect all at once
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
