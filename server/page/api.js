// The REST routes, as the page uses them. Addresses are relative: kapi may be mounted anywhere.
// Who asks is said by the cookie, which no script can read, and where people sign in with a token by
// the other half of their session too: a browser sends cookies to every port of the host.

export const base = new URL(".", document.baseURI);

const kept = `kapi.session ${base.pathname}`; // what localStorage has is for this origin, port and all
let unkept = ""; // where the browser keeps nothing

// session is the half that scripts have, "" without one.
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
  } catch { /* until the page is loaded again, that is */ }
}

const patience = 15_000; // above what the server takes for any answer

// An ApiError is an answer that is none of success. Its status is 0 if there was no answer.
export class ApiError extends Error {
  constructor(status, code, message, retryAfter) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

let skew = 0;

// now is the server's time, in milliseconds since 1970, as far as it differs from the browser's.
export const now = () => Date.now() + skew;

// Answers tell the time in whole seconds.
function compareClocks(date, asked) {
  const theirs = Date.parse(date ?? "") + 500;
  const off = theirs - (asked + Date.now()) / 2;
  if (Math.abs(off - skew) > 1000) skew = Math.abs(off) > 2000 ? off : 0; // nearer is as good as the same
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
    throw new ApiError(response.status, 0, "What answers is not kapi: a proxy that wants you to sign in, perhaps. Load the page again.");
  }
}

// refusal makes an error of an answer; one that isn't kapi's comes from something between.
function refusal(response, text) {
  let said = {};
  try {
    said = JSON.parse(text) ?? {};
  } catch { /* said below */ }
  if (said.code === 50002 && said.needs === undefined) { // for want of a permission it says which
    return new ApiError(response.status, 0, "The server takes this page for another site’s. A proxy in front of it must pass the Host header on.");
  }
  let message = said.message || `The server answers ${response.status} ${response.statusText}`.trim();
  if (said.report) message += ` (incident ${said.report} in the server’s log)`;
  return new ApiError(response.status, said.code ?? 0, message, said.retry_after);
}

// list returns the ongoing actions, and of which change the list is.
export async function list() {
  const { response, data } = await call("GET", "v4/kapi/actions");
  const [, epoch = "", seq] = /"([^"]*)-(\d+)(?::gzip)?"/.exec(response.headers.get("ETag") ?? "") ?? [];
  return { actions: data, epoch, seq: seq === undefined ? undefined : Number(seq) };
}

const one = (id) => `v4/kapi/actions/${encodeURIComponent(id)}`;

export const get = async (id) => (await call("GET", one(id))).data;
export const dismiss = (id) => call("POST", `${one(id)}/dismiss`);
export const cancel = async (id) => (await call("POST", `${one(id)}/cancel`)).data;

// signIn begins a session: of a { token }, or of the { code } of a link.
export async function signIn(by) {
  keepSession((await call("POST", "page/session", by)).data.session);
}

export async function signOut() {
  await call("DELETE", "page/session");
  keepSession("");
}
