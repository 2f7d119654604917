// What is shown outside of the page itself: the tab's title and icon, notifications, and announcements for
// screen readers.

import { $, attribute, show, text } from "./dom.js";
import { Status, nameOf, stateText } from "./text.js";

const remembered = "kapi.notify";

export class Tab {
  constructor(model) {
    this.model = model;
    this.icon = $("link[rel=icon]");
  }

  update(stale) {
    const failed = this.model.counts[Status.failed], total = this.model.total;
    const parts = [];
    if (stale) parts.push("not connected");
    if (failed > 0) parts.push(`${failed} failed`);
    if (total > 0) parts.push(`${total} ongoing`);
    const title = [parts.join(", "), document.documentElement.dataset.title].filter(Boolean).join(" · ");
    if (document.title !== title) document.title = title;
    const drawn = `${failed} ${total} ${stale}`;
    if (this.drawn === drawn) return;
    this.drawn = drawn;
    this.icon.href = `data:image/svg+xml,${encodeURIComponent(picture(failed, total, stale))}`;
  }
}

// picture returns an icon with the number of failures in a disc or, without failures, of all actions in a ring.
function picture(failed, total, stale) {
  const number = failed || total, label = number > 99 ? "99" : String(number || "");
  const colour = failed ? "#c62f25" : stale ? "#8a8f98" : "#0d7f8a";
  const disc = failed ? `fill="${colour}"` : `fill="#fff" stroke="${colour}" stroke-width="4"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><circle cx="16" cy="16" r="${failed ? 16 : 14}" ${disc}/>` +
    `<text x="16" y="22.5" text-anchor="middle" font-family="system-ui,sans-serif" font-weight="700" font-size="${label.length > 1 ? 17 : 20}" ` +
    `fill="${failed ? "#fff" : "#08545c"}">${label}</text></svg>`;
}

// An Announcer collects what happens at about the same time and announces it together.
export class Announcer {
  constructor() {
    this.region = $("#announcements");
    this.waiting = [];
  }

  say(sentence) {
    text(this.region, ""); // a repeated text would not be announced otherwise
    this.waiting.push(sentence);
    this.timer ??= setTimeout(() => this.#speak(), 700);
  }

  #speak() {
    this.timer = undefined;
    const few = this.waiting.slice(0, 3);
    if (this.waiting.length > few.length) few.push(`and ${this.waiting.length - few.length} more changes`);
    this.waiting = [];
    text(this.region, few.join(". "));
  }
}

// Notices are the browser's notifications of failures, which the user can turn on.
export class Notices {
  constructor() {
    this.button = $("#notices");
    this.reason = $("#notices-why");
    this.waiting = [];
    this.button.addEventListener("click", () => this.#toggle());
    this.#paint();
  }

  // why returns why there can be no notifications, "" if there can.
  get why() {
    if (!isSecureContext) return "Notifications need https.";
    if (!("Notification" in window)) return "This browser doesn't support notifications for pages.";
    return Notification.permission === "denied" ? "The browser is set to block notifications from this page." : "";
  }

  get on() {
    return this.why === "" && Notification.permission === "granted" && localStorage.getItem(remembered) === "on";
  }

  async #toggle() {
    this.asked = true;
    let failed;
    if (this.on) localStorage.removeItem(remembered);
    else if (this.why === "" && (await Notification.requestPermission()) === "granted") {
      // Only trying shows whether it works: browsers of phones allow notifications for installed apps only.
      if (this.#one("kapi notifies of failures", "As long as this page is open.", "#/", "first")) localStorage.setItem(remembered, "on");
      else failed = "This browser allows notifications for installed apps only.";
    }
    this.#paint(failed);
  }

  #paint(why = this.why) {
    this.button.setAttribute("aria-pressed", String(this.on));
    attribute(this.button, "aria-disabled", why ? "true" : undefined);
    text(this.button.lastElementChild, this.on ? "Notifying of failures" : "Notify of failures");
    text(this.reason, why);
    show(this.reason, why !== "" && this.asked === true);
  }

  failed(entry) {
    if (!this.on) return;
    this.waiting.push(entry);
    this.timer ??= setTimeout(() => this.#show(), 500);
  }

  #show() {
    this.timer = undefined;
    const all = this.waiting;
    this.waiting = [];
    if (all.length > 3) return this.#one(`${all.length} actions have failed`, "", "#/?status=failed", "many");
    for (const { id, action } of all) {
      this.#one(`Failed: ${nameOf(action)}`, stateText(action.state), `#/actions/${id}`, id);
    }
  }

  // #one shows a notification, and returns whether that worked.
  #one(title, body, href, tag) {
    try {
      const notice = new Notification(title, { body, tag });
      notice.onclick = () => {
        focus();
        location.hash = href;
        notice.close();
      };
      return true;
    } catch {
      return false;
    }
  }
}
