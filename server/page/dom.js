// Small helpers. Texts only become text nodes: nothing here parses a string as HTML.

export const $ = (selector, root = document) => root.querySelector(selector);

// stamp copies a template of index.html.
export const stamp = (id) => document.getElementById(id).content.firstElementChild.cloneNode(true);

// h makes an element: attributes, then children, which are elements or text.
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const svgSpace = "http://www.w3.org/2000/svg";

export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(svgSpace, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// shape returns the icon of a status, or another symbol of index.html.
export const shape = (name) =>
  svg("svg", { class: "shape", "aria-hidden": "true" }, svg("use", { href: `#shape-${name}` }));

// text sets the text of an element only if it differs, so that the browser has nothing to do otherwise.
export function text(element, value) {
  const node = element.firstChild;
  if ((node?.data ?? "") === value) return;
  if (node instanceof Text && node === element.lastChild && value) node.data = value; // cheaper than a new node
  else element.textContent = value;
}

// show sets whether an element is visible.
export function show(element, visible) {
  if (element.hidden === visible) element.hidden = !visible;
}

// keep gives an element one child for each item, in this order. Items are objects. Existing children stay,
// and with them a selection in them.
export function keep(parent, items, make) {
  const made = (parent.made ??= new WeakMap());
  const wanted = items.map((item) => {
    if (!made.has(item)) made.set(item, make(item));
    return made.get(item);
  });
  const staying = new Set(wanted);
  for (const child of [...parent.children]) if (!staying.has(child)) child.remove();
  let next = parent.firstChild;
  for (const child of wanted) {
    if (child === next) next = next.nextSibling;
    else parent.insertBefore(child, next);
  }
}

// attribute sets an attribute, or removes it if value is undefined.
export function attribute(element, name, value) {
  if (value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

// command returns a line for a terminal, with a button that copies it.
export function command(line) {
  const button = h("button", { type: "button", class: "copy", "aria-label": `Copy: ${line}` }, shape("copy"), h("span", {}, "Copy"));
  button.dataset.copy = line;
  return h("div", { class: "command" }, h("code", { tabindex: "0" }, line), button);
}

// copyFrom handles clicks on the copy buttons of the document.
export function copyFrom(document, announce) {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("button.copy");
    if (!button) return;
    const done = await copy(button.dataset.copy);
    const label = button.lastElementChild;
    label.textContent = done ? "Copied" : "Select it and copy";
    if (!done) getSelection().selectAllChildren(button.previousElementSibling);
    announce(label.textContent);
    setTimeout(() => (label.textContent = "Copy"), 2500);
  });
}

// Browsers allow pages to use the clipboard only over HTTPS and on localhost.
async function copy(line) {
  try {
    await navigator.clipboard.writeText(line);
    return true;
  } catch {
    return false;
  }
}

const stillness = matchMedia("(prefers-reduced-motion: reduce)");

// glide plays an animation, unless the user prefers reduced motion.
export function glide(element, frames, duration) {
  if (stillness.matches) return undefined;
  return element.animate(frames, { duration, easing: "cubic-bezier(.2, .7, .2, 1)" });
}
