// The page: what is going on, live. This wires what the other modules do.

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
// owed is set from a READY until the list that it asks for: what is shown is not whole before that.
let owed;

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

// A hidden tab paints nothing, but its title and icon are seen.
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
  show($("#loading"), !model.known && $("#sign-in-view").hidden);
}

let ticked = Date.now();

// tick is what time alone changes.
function tick() {
  const now = api.now(), at = performance.now();
  if (Date.now() - ticked > 5 * second) gateway.check(); // the machine slept
  ticked = Date.now();
  model.settle(at);
  if (model.sweep(at, detail.id)) {
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

// load lists what is going on; with the gateway connected nothing that comes later is missed.
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

// again tries later what could not be had at all.
function again(error, what = load) {
  if (!model.known) {
    signIn.hide();
    text($("#loading"), `${error.message} Trying again…`);
    wake();
  }
  retry = setTimeout(what, 1000 * (error.retryAfter ?? 2));
}

// catchUp is called when the gateway will tell all that changes after seq.
function catchUp(seq, epoch) {
  owed = undefined;
  if (epoch === model.epoch && listedSeq >= seq) return banner.live(true); // the list is as new as that
  owed = {};
  listedSeq = -1;
  model.enter(epoch);
  load();
}

// resumed is called when the gateway has told all that changed since the connection before.
function resumed() {
  if (owed) load();
  else banner.live(true);
}

// refused is called when the gateway will not have the cookie; the list says why.
function refused() {
  banner.live(false, gateway.heardAt);
  clearTimeout(retry);
  retry = setTimeout(load, 1000);
}

function askToSignIn(error) {
  if (signedIn) return location.reload(); // and with it goes all that was shown
  signIn.open(linkFailed() ? "That link has been used already, or it was too old. Paste a token instead, or start kapi serve anew for another link." : reason(error));
  wake();
}

const codeOf = (hash) => /^#\/enter\/(\w+)$/.exec(hash)?.[1];

// enter uses up the one-time link that brought the browser here. If it is no good, the browser may be
// signed in already: some open a link twice.
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

// linkFailed: a one-time link brought the browser here, and was no good.
const linkFailed = () => location.hash === "#/link";

// after something was done about an action, its row will go: the focus stays close by.
function after(id, error) {
  if (error) return load(); // which finds out whether one has to sign in again
  if (!gateway.live) load(); // nobody tells what came of it
  const row = list.rows.get(id);
  if ($("#list-view").hidden) detail.parts.title.focus();
  else row?.link.focus();
  wake();
}

function route() {
  if (codeOf(location.hash)) return location.reload(); // pasted over the page's own address
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

// atHome: the server is on this machine, so that a command can use its store.
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
  if (code) history.replaceState(null, "", "#/"); // it is not to stay in the history
  addEventListener("hashchange", route);
  route();
  setInterval(tick, 1000);
  if (code) enter(code);
  else load();
}

start();
