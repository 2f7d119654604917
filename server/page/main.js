// The page: what is going on, live. This wires what the other modules do.

import * as api from "./api.js";
import { Detail, Hearing } from "./detail.js";
import { $, command, copyFrom, show, text } from "./dom.js";
import { Filter } from "./filter.js";
import { Gateway } from "./gateway.js";
import { List } from "./list.js";
import { Model } from "./model.js";
import { Question } from "./question.js";
import { endedItem } from "./row.js";
import { SignIn, reason } from "./signin.js";
import { Announcer, Notices, Tab } from "./tab.js";
import { localTime, plain, shellQuote } from "./text.js";

// staleAfter is how long the connection may be away before it is worth a word.
const staleAfter = 800;

const announcer = new Announcer();
const model = new Model({ changed, told });
const list = new List(model, wake);
const detail = new Detail(model, wake);
const hearing = new Hearing(model);
const tab = new Tab(model);
const notices = new Notices();
const filter = new Filter(model, (chosen) => {
  list.setFilter(chosen);
  wake();
});
const question = new Question(model, { after, announce: (sentence) => announcer.say(sentence) });
const signIn = new SignIn(load);
const gateway = new Gateway({
  ready: catchUp, resumed: () => live(true), lost: () => live(false), refused, outdated,
  action: (action) => model.update(action),
});

let listedSeq = -1, connected, since = 0, stale = false, signedIn = false, retry = 0;

// What changes is painted once a frame, whatever comes in between.
let scheduled = false;

function wake() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(paint);
}

function paint() {
  scheduled = false;
  const now = api.now();
  list.paint(now, stale);
  detail.paint(now, stale);
  question.refresh();
  filter.paint();
  paintEmpty();
}

function changed(entry) {
  list.changed(entry);
  wake();
  tabSoon();
}

// A hidden tab paints nothing, but its title and icon are seen.
let tabTimer = 0;

function tabSoon() {
  tabTimer ||= setTimeout(() => {
    tabTimer = 0;
    tab.update(stale);
  }, 200);
}

function told(entry, what) {
  const title = plain(entry.action.title);
  const words = { unseen: "has ended", impacted: "is impacted", recovered: "has recovered", failed: "has failed", completed: "has completed", aborted: "was aborted" };
  announcer.say(`${title} ${words[what]}`);
  if (what === "failed") notices.failed(entry);
  if (!["failed", "impacted", "recovered"].includes(what)) endingsChanged = true;
}

let endingsChanged = false;

function paintEndings(now) {
  if (!endingsChanged) return;
  endingsChanged = false;
  $("#endings").replaceChildren(...model.endings.map((ending) => endedItem(ending, now, localTime)));
  text($("#endings-count"), String(model.endings.length));
  show($("#recent"), model.endings.length > 0);
}

function paintEmpty() {
  const none = model.known && model.entries.size === 0;
  show($("#empty"), none);
  show($("#filter"), model.known && !none);
  show($("#no-match"), model.known && !none && list.matching === 0);
  show($("#loading"), !model.known);
}

// tick is what time alone changes.
function tick() {
  const now = api.now(), at = performance.now();
  model.settle(at);
  if (model.sweep(at, detail.id)) {
    list.reorder();
    wake();
  }
  paintEndings(now);
  if (stale) paintStale(now);
  if (document.hidden) return list.forget(); // nothing is painted now
  list.tick(now, stale);
  detail.paint(now, stale);
  if (!stale) hearing.tick(detail.entry ? [detail.entry] : list.near());
}

// load lists what is going on; with the gateway connected nothing that comes later is missed.
async function load() {
  clearTimeout(retry);
  let listed;
  try {
    listed = await api.list();
  } catch (error) {
    if (!(error instanceof api.ApiError)) throw error;
    if (error.status === 401 || error.status === 403) return askToSignIn(error);
    return again(error);
  }
  listedSeq = listed.seq ?? gateway.seq;
  model.list(listed.actions, listed.epoch, listedSeq);
  if (!signedIn) {
    signedIn = true;
    signIn.close();
    show($("#body"), true);
    show($("#live"), true);
    route();
  }
  if (gateway.live) live(true);
  else gateway.start();
  wake();
  tabSoon();
}

// again tries later what could not be had at all.
function again(error) {
  if (!model.known) text($("#loading"), `${error.message} Trying again…`);
  retry = setTimeout(load, 1000 * (error.retryAfter ?? 2));
}

// catchUp is called when the gateway will tell all that changes after seq.
function catchUp(seq, epoch) {
  if (epoch === model.epoch && listedSeq >= seq) live(true); // the list is as new as that
  else load();
}

// refused is called when the gateway will not have the cookie; the list says why.
function refused() {
  live(false);
  retry = setTimeout(load, 1000);
}

function askToSignIn(error) {
  signedIn = false;
  gateway.stop();
  live(true); // or rather: nobody waits for it
  show($("#body"), false);
  show($("#live"), false);
  detail.open(undefined);
  signIn.open(linkFailed() ? "That link has been used already, or it was too old. Paste a token instead, or have kapi serve print another link." : reason(error));
}

// linkFailed: a one-time link brought the browser here, and was no good.
const linkFailed = () => location.hash === "#/link";

function outdated() {
  text($("#stale-text"), "The server is of another version than this page. Load it again.");
  show($("#stale"), true);
}

// live notes whether the connection is there. While it is not, the page says since when.
let staleTimer = 0;

function live(yes) {
  if (connected === yes) return;
  connected = yes;
  clearTimeout(staleTimer);
  if (yes) return setStale(false);
  since = gateway.heardAt || Date.now();
  staleTimer = setTimeout(() => setStale(true), staleAfter);
}

function setStale(yes) {
  if (stale !== yes) announcer.say(yes ? `Not connected since ${localTime(since)}` : "Connected again");
  stale = yes;
  document.body.classList.toggle("is-stale", stale);
  text($("#live-text"), stale ? "Not connected" : "Live");
  paintStale(api.now());
  show($("#stale"), stale);
  tabSoon();
  wake();
}

function paintStale(now) {
  if (!stale) return;
  text($("#stale-text"), `Not connected to the server. What you see is as of ${localTime(since, { now })}; it is brought up to date as soon as the server is back.`);
}

// after something was done about an action, its row will go: the focus stays close by.
function after(id, error) {
  if (error) return load(); // which finds out whether one has to sign in again
  const row = list.rows.get(id);
  if ($("#list-view").hidden) detail.parts.title.focus();
  else row?.parts.link.focus();
  wake();
}

function route() {
  const [, id] = /^#\/actions\/([\w.~-]+)$/.exec(location.hash) ?? [];
  const before = detail.id;
  if (linkFailed() && signedIn) history.replaceState(null, "", "#/");
  show($("#list-view"), id === undefined);
  detail.open(signedIn ? id : undefined);
  if (id === undefined) {
    filter.read();
    list.reorder();
    if (before !== undefined) (list.rows.get(before)?.parts.link ?? $("#list-title")).focus();
  } else if (before !== detail.id) {
    scrollTo(0, 0);
    detail.parts.title.focus();
  }
  wake();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("button[data-do]");
  if (!button || button.getAttribute("aria-disabled") === "true") return;
  const entry = button.closest(".row")?.row.entry ?? detail.entry;
  if (entry) question.ask(button.dataset.do, entry);
});

function start() {
  const server = shellQuote(api.base.href.replace(/\/$/, ""));
  $("#first-action").append(command(`kapi run --server ${server} --key backup --title Backup -- ./backup.sh`));
  text($("#host"), location.host);
  copyFrom(document, (sentence) => announcer.say(sentence));
  addEventListener("hashchange", route);
  route();
  setInterval(tick, 1000);
  load();
}

start();
