// Signing in and out. The token that is pasted goes to the server and nowhere else.

import * as api from "./api.js";
import { $, command, show, text } from "./dom.js";

export class SignIn {
  // done is called when somebody has signed in.
  constructor(done) {
    this.done = done;
    this.root = $("#sign-in-view");
    this.parts = {};
    for (const part of this.root.querySelectorAll("[data-part]")) this.parts[part.dataset.part] = part;
    const { signIn, signInUrl } = document.documentElement.dataset;
    this.byToken = signIn === "token" && !signInUrl;
    show(this.parts.form, this.byToken);
    show(this.parts.how, this.byToken);
    show(this.parts.elsewhere, !this.byToken);
    if (signInUrl) this.parts.link.href = signInUrl;
    show(this.parts.link, Boolean(signInUrl));
    show(this.parts.noLink, !signInUrl);
    if (this.byToken) this.parts.how.append(command("kapi token create --name me"));
    this.parts.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    $("#sign-out").addEventListener("click", () => this.#out());
  }

  // open asks to sign in, and says why.
  open(why) {
    show(this.root, true);
    for (const id of ["#sign-out", "#notices"]) show($(id), false);
    text(this.parts.why, why);
    show(this.parts.why, why !== "");
    if (this.byToken) this.parts.token.focus();
    else this.parts.title.focus();
  }

  close() {
    show(this.root, false);
    show($("#sign-out"), this.byToken);
    show($("#notices"), true);
  }

  async #send() {
    const { token, button, error } = this.parts;
    if (button.disabled) return;
    show(error, false);
    button.disabled = true;
    try {
      await api.signIn(token.value);
      token.value = "";
      this.done();
    } catch (failure) {
      text(error, explain(failure));
      show(error, true);
      token.setAttribute("aria-invalid", "true");
      token.focus();
      token.select();
    } finally {
      button.disabled = false;
    }
  }

  async #out() {
    try {
      await api.signOut();
    } finally {
      location.reload(); // and with it goes all that was shown
    }
  }
}

function explain(error) {
  switch (error.code) {
    case 40006: return "Paste a token first.";
    case 40002: return "That token is not valid. It may have been revoked, or a part of it is missing.";
    case 40007: return "That token has expired.";
    case 50002: return "That token is not an admin’s, and actions are for admins only.";
  }
  if (error.status === 429) return `Too many tries. Try again in ${Math.ceil(error.retryAfter ?? 1)} s.`;
  return error.message;
}

// reason says in a sentence why somebody has to sign in.
export function reason(error) {
  switch (error.code) {
    case 40006: return "";
    case 40007: return "Your token has expired.";
    case 50002: return "You are signed in, but not as an admin, and actions are for admins only.";
  }
  return "Your token is not valid any more. It may have been revoked.";
}
