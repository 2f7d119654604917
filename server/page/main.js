// The page: ongoing actions, live. This file connects the other modules.

import * as api from "./api.js";
import { Banner } from "./banner.js";
import { Detail } from "./detail.js";
import { $, command, copyFrom, keep, show, text } from "./dom.js";
import { Filter } from "./filter.js";
import { Gateway } from "./gateway.js";
import { Hearing } from "./hearing.js";
import { List } from "./list.js";
import { Model } from "./model.js";
import { Question } from "./question.js";
import { endedItem } from "./row.js";
import { SignIn, reason } from "./signin.js";
import { Announcer, Notices, Tab } from "./tab.js";
import { nameOf, second, shellQuote } from "./text.js";

const announcer = new Announcer();
const model = new Model({ changed, news });
const list = new List(model, wake);
const detail = new Detail(model);
const hearing = new Hearing(model);
const tab = new Tab(model);
const notices = new Notices();
const filter = new Filter(model, (chosen) => {
  list.setFilter(chosen);
  wake();
});
const announce = (sentence) => announcer.say(sentence);
const question = new Question(model, { after, announce });
const banner = new Banner({ change: wakeAll, announce });
const signIn = new SignIn(load);
const gateway = new Gateway({
  ready: catchUp, resumed, refused, lost: () => banner.live(false, gateway.heardAt), outdated: () => banner.outdated(gateway.heardAt),
  action: (action) => model.update(action),
});

let listedSeq = -1, signedIn = false, retry = 0;
// owed is set from READY until the list has been loaded. Until then the page may lack actions.
let owed;

// Changes are painted once a frame, however many there are.
let scheduled = false;

function wake() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(paint);
}

function paint() {
  scheduled = false;
  const now = api.now();
  list.paint(now, banner.stale);
  detail.paint(now, banner.stale);
  question.refresh();
  filter.paint();
  paintEmpty();
}

function changed(entry) {
  list.changed(entry);
  detail.changed(entry);
  wakeAll();
}

function wakeAll() {
  wake();
  tabSoon();
}

// A hidden tab paints nothing, but its title and icon are visible.
let tabTimer = 0;

function tabSoon() {
  tabTimer ||= setTimeout(() => {
    tabTimer = 0;
    tab.update(banner.stale);
  }, 200);
}

function news(entry, what) {
  const title = nameOf(entry.action);
  const words = { unseen: "has ended", impacted: "is impacted", recovered: "has recovered", failed: "has failed", completed: "has completed", aborted: "was aborted" };
  announce(`${title} ${words[what]}`);
  if (what === "failed") notices.failed(entry);
  if (!["failed", "impacted", "recovered"].includes(what)) endingsChanged = true;
}

let endingsChanged = false;

function paintEndings(now) {
  if (!endingsChanged) return;
  endingsChanged = false;
  keep($("#endings"), model.endings, (ending) => endedItem(ending, now));
  for (const count of document.querySelectorAll(".endings-count")) text(count, String(model.endings.length));
  for (const id of ["#recent", "#to-recent"]) show($(id), model.endings.length > 0);
}

function paintEmpty() {
  const none = model.known && model.entries.size === 0;
  show($("#empty"), none);
  show($("#filter"), model.known && !none);
  show($("#no-match"), model.known && !none && list.matching === 0);
  show($("#more"), list.left > 0);
  text($("#more"), `and ${list.left} more. Use the filter to see others.`);
  show($("#loading"), !model.known && $("#sign-in-view").hidden);
}

let ticked = Date.now();

// tick updates what changes with time alone.
function tick() {
  const now = api.now(), at = performance.now();
  if (Date.now() - ticked > 5 * second) gateway.check(); // the machine slept
  ticked = Date.now();
  model.settle(at);
  if (model.sweep(at, detail.id) || list.left > 0) { // those that have no row are counted anew
    list.reorder();
    wake();
  }
  paintEndings(now);
  banner.tick(now);
  if (document.hidden) return list.forget(); // nothing is painted now
  list.tick(now, banner.stale);
  detail.tick(now, banner.stale);
  if (!banner.stale) hearing.tick(detail.entry ? [detail.entry] : list.near());
}

// load lists the ongoing actions. If the gateway is connected, no later change is missed.
async function load() {
  clearTimeout(retry);
  const pays = owed, seen = gateway.seq;
  let listed;
  try {
    listed = await api.list();
  } catch (error) {
    if (!(error instanceof api.ApiError)) throw error;
    if (error.status === 401 || error.status === 403) return askToSignIn(error);
    return again(error);
  }
  listedSeq = listed.seq ?? seen;
  if (owed === pays) owed = undefined;
  model.list(listed.actions, listed.epoch, listedSeq);
  if (!signedIn) {
    signedIn = true;
    signIn.close();
    show($("#body"), true);
    show($("#live"), true);
    route();
  }
  if (!gateway.live) gateway.start();
  else if (!owed) banner.live(true);
  wakeAll();
}

// again repeats a request that failed, after a pause.
function again(error, what = load) {
  if (!model.known) {
    signIn.hide();
    text($("#loading"), `${error.message} Trying again…`);
    wake();
  }
  retry = setTimeout(what, 1000 * (error.retryAfter ?? 2));
}

// catchUp is called when the gateway will send all changes after seq.
function catchUp(seq, epoch) {
  owed = undefined;
  if (epoch === model.epoch && listedSeq >= seq) return banner.live(true); // the list is new enough
  owed = {};
  listedSeq = -1;
  model.enter(epoch);
  load();
}

// resumed is called when the gateway has sent all changes since the previous connection.
function resumed() {
  if (owed) load();
  else banner.live(true);
}

// refused is called when the gateway refuses the cookie. The next list says why.
function refused() {
  banner.live(false, gateway.heardAt);
  clearTimeout(retry);
  retry = setTimeout(load, 1000);
}

function askToSignIn(error) {
  if (signedIn) return location.reload(); // and with it goes all that was shown
  signIn.open(linkFailed() ? "That link has been used already, or is too old. Paste a token instead, or restart kapi serve to get a new link." : reason(error));
  wake();
}

const codeOf = (hash) => /^#\/enter\/(\w+)$/.exec(hash)?.[1];

// enter signs in with the code of a one-time link. If the code is not valid, the browser may be signed in
// already, because some browsers open a link twice.
async function enter(code) {
  try {
    await api.signIn({ code });
  } catch (error) {
    if (!(error instanceof api.ApiError)) throw error;
    if (error.status === 0 || error.status === 429 || error.status >= 500) return again(error, () => enter(code));
    if (error.status === 401) history.replaceState(null, "", "#/link");
  }
  load();
}

// linkFailed returns whether the browser came by a one-time link that was not valid.
const linkFailed = () => location.hash === "#/link";

// after is called when an action was dismissed or cancelled. Its row may go, so the focus stays close by.
function after(id, error) {
  if (error) return load(); // which asks to sign in again if necessary
  if (!gateway.live) load(); // the gateway can't send the result
  const row = list.rows.get(id);
  if ($("#list-view").hidden) detail.parts.title.focus();
  else row?.link.focus();
  wake();
}

function route() {
  if (codeOf(location.hash)) return location.reload(); // a link was pasted over the page's own address
  const [, id] = /^#\/actions\/([\w.~-]+)$/.exec(location.hash) ?? [];
  const before = detail.id;
  if (linkFailed() && signedIn) history.replaceState(null, "", "#/");
  show($("#list-view"), id === undefined);
  detail.open(signedIn ? id : undefined);
  if (id === undefined) {
    filter.read();
    list.reorder();
    if (before !== undefined) (list.rows.get(before)?.link ?? $("#list-title")).focus();
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

// atHome is true if the server is on this machine, so that a command can use its store.
const atHome = /^(localhost|127\.[\d.]+|\[::1\])$/.test(location.hostname);

function start() {
  text($("#loading"), "Loading…");
  const server = atHome ? "" : `--server ${shellQuote(api.base.href.replace(/\/$/, ""))} `;
  $("#first-action").append(command(`kapi run ${server}--key first --title "My first action" -- sleep 60`));
  show($(atHome ? "#first-elsewhere" : "#first-here"), false);
  text($("#host"), location.host);
  copyFrom(document, announce);
  $("#to-recent").addEventListener("click", () => {
    $("#recent").scrollIntoView();
    $("#recent summary").focus();
  });
  const code = codeOf(location.hash);
  if (code) history.replaceState(null, "", "#/"); // so that it doesn't stay in the history
  addEventListener("hashchange", route);
  route();
  setInterval(tick, 1000);
  if (code) enter(code);
  else load();
}

start();
