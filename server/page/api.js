// The REST routes that the page uses. Addresses are relative, since kapi may be mounted anywhere.
// A cookie that no script can read authenticates requests. If people sign in with a token, the other
// half of their session is sent too, because a browser sends cookies to every port of the host.

export const base = new URL(".", document.baseURI);

const kept = `kapi.session ${base.pathname}`; // localStorage is separate for each origin, including the port
let unkept = ""; // for browsers that don't allow localStorage

// session returns the half of the session that scripts have, "" without a session.
export function session() {
  if (document.documentElement.dataset.signIn !== "token") return "";
  try {
    return localStorage.getItem(kept) ?? unkept;
  } catch {
    return unkept;
  }
}

function keepSession(half) {
  unkept = half;
  try {
    if (half) localStorage.setItem(kept, half);
    else localStorage.removeItem(kept);
  } catch { /* then it lasts until the page is loaded again */ }
}

const patience = 15_000; // longer than the server takes for any answer

// An ApiError is an answer that is not a success. Its status is 0 if there was no answer.
export class ApiError extends Error {
  constructor(status, code, message, retryAfter) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

let skew = 0;

// now returns the server's time in milliseconds since 1970, by the browser's clock if the two are close.
export const now = () => Date.now() + skew;

// The Date header has whole seconds, so half a second is added on average.
function compareClocks(date, asked) {
  const theirs = Date.parse(date ?? "") + 500;
  const off = theirs - (asked + Date.now()) / 2;
  if (Math.abs(off - skew) > 1000) skew = Math.abs(off) > 2000 ? off : 0; // small differences are ignored
}

async function call(method, path, body) {
  const init = { method, headers: {}, signal: AbortSignal.timeout(patience) };
  if (session()) init.headers["X-Kapi-Session"] = session();
  if (body) {
    init.headers["Content-Type"] = "application/json";
    init.body = JSON.stringify(body);
  }
  const asked = Date.now();
  let response, text;
  try {
    response = await fetch(new URL(path, base), init);
    text = await response.text();
  } catch (error) {
    throw new ApiError(0, 0, error.name === "TimeoutError" ? "The server does not answer." : "The server can’t be reached.");
  }
  compareClocks(response.headers.get("Date"), asked);
  if (!response.ok) throw refusal(response, text);
  try {
    return { response, data: text ? JSON.parse(text) : undefined };
  } catch {
    throw new ApiError(response.status, 0, "The answer is not from kapi. Perhaps a proxy asks you to sign in: load the page again.");
  }
}

// refusal makes an error of an answer. If the answer isn't kapi's, it comes from a proxy.
function refusal(response, text) {
  let said = {};
  try {
    said = JSON.parse(text) ?? {};
  } catch { /* not kapi's: the status is shown below */ }
  if (said.code === 50002 && said.needs === undefined) { // a missing permission would be named
    return new ApiError(response.status, 0, "The server takes this page for another site’s. A proxy in front of it must pass the Host header on.");
  }
  let message = said.message || `The server answers ${response.status} ${response.statusText}`.trim();
  if (said.report) message += ` (incident ${said.report} in the server’s log)`;
  return new ApiError(response.status, said.code ?? 0, message, said.retry_after);
}

// list returns the ongoing actions, and the epoch and seq of the list.
export async function list() {
  const { response, data } = await call("GET", "v4/kapi/actions");
  const [, epoch = "", seq] = /"([^"]*)-(\d+)(?::gzip)?"/.exec(response.headers.get("ETag") ?? "") ?? [];
  return { actions: data, epoch, seq: seq === undefined ? undefined : Number(seq) };
}

const one = (id) => `v4/kapi/actions/${encodeURIComponent(id)}`;

export const get = async (id) => (await call("GET", one(id))).data;
export const dismiss = (id) => call("POST", `${one(id)}/dismiss`);
export const cancel = async (id) => (await call("POST", `${one(id)}/cancel`)).data;

// signIn begins a session with a { token }, or with the { code } of a link.
export async function signIn(by) {
  keepSession((await call("POST", "page/session", by)).data.session);
}

export async function signOut() {
  await call("DELETE", "page/session");
  keepSession("");
}
