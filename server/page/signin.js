// Signing in and out. The pasted token is sent to the server and not kept; the browser keeps a session
// (see api.js).

import * as api from "./api.js";
import { $, attribute, command, show, text } from "./dom.js";

export class SignIn {
  // done is called once somebody has signed in.
  constructor(done) {
    this.done = done;
    this.others = new BroadcastChannel(`kapi ${api.base.pathname}`); // the page's other tabs
    this.root = $("#sign-in-view");
    this.parts = {};
    for (const part of this.root.querySelectorAll("[data-part]")) this.parts[part.dataset.part] = part;
    const { signIn, signInUrl } = document.documentElement.dataset;
    this.byToken = signIn === "token" && !signInUrl;
    show(this.parts.form, this.byToken);
    show(this.parts.how, this.byToken);
    show(this.parts.elsewhere, !this.byToken);
    this.url = signInUrl;
    show(this.parts.link, Boolean(signInUrl));
    show(this.parts.noLink, !signInUrl);
    if (this.byToken) this.parts.how.append(command("kapi token create --name me --perms admin"));
    this.parts.token.addEventListener("input", () => this.#refuse(""));
    this.parts.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    $("#sign-out").addEventListener("click", () => this.#out());
    this.others.onmessage = () => location.reload();
  }

  // open asks to sign in, and shows why.
  open(why) {
    show(this.root, true);
    for (const id of ["#sign-out", "#notices"]) show($(id), false);
    text(this.parts.why, why);
    show(this.parts.why, why !== "");
    if (this.url) this.parts.link.href = leadingBack(this.url);
    if (this.byToken) this.parts.token.focus();
    else this.parts.title.focus();
  }

  hide() {
    show(this.root, false);
  }

  close() {
    this.hide();
    show($("#sign-out"), this.byToken);
    show($("#notices"), true);
  }

  async #send() {
    const { token, button } = this.parts;
    if (button.disabled) return;
    this.#refuse("");
    button.disabled = true;
    try {
      await api.signIn({ token: token.value });
      token.value = "";
      this.done();
    } catch (error) {
      this.#refuse(explain(error));
      token.focus();
      token.select();
    } finally {
      button.disabled = false;
    }
  }

  // #refuse shows what is wrong with the token.
  #refuse(why) {
    const { token, error } = this.parts;
    text(error, why);
    show(error, why !== "");
    attribute(token, "aria-invalid", why ? "true" : undefined);
  }

  async #out() {
    const why = $("#sign-out-why");
    show(why, false);
    try {
      await api.signOut();
    } catch (error) {
      text(why, `You are still signed in. ${error.message}`);
      return show(why, true);
    }
    this.others.postMessage("out");
    location.reload(); // which also removes everything that was shown
  }
}

function explain(error) {
  switch (error.code) {
    case 40006: return "Paste a token first.";
    case 40002: return "That token is not valid. It may have been revoked, or a part of it is missing.";
    case 40007: return "That token has expired.";
    case 50002: return "That token is not an admin’s, and actions are for admins only.";
  }
  if (error.status === 429) return `Too many attempts. Try again in ${Math.ceil(error.retryAfter ?? 1)} s.`;
  return error.message;
}

// reason returns a sentence that says why somebody has to sign in.
export function reason(error) {
  switch (error.code) {
    case 40006: return api.session() ? "Your session has ended." : "";
    case 40007: return api.session() ? "Your session has ended." : "Your token has expired.";
    case 50002: return "You are signed in, but not as an admin, and actions are for admins only.";
    case 40002: return `Your ${api.session() ? "session" : "token"} is no longer valid. It may have been revoked.`;
  }
  return error.message; // from a proxy
}

// leadingBack returns the address to sign in at, with the address to return to.
function leadingBack(address) {
  const to = new URL(address, location.href);
  const here = to.origin === location.origin ? location.pathname + location.search + location.hash : location.href;
  if (!to.searchParams.has("next")) to.searchParams.set("next", here);
  return to.href;
}
