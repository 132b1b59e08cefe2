"use strict";

const page = document.body.dataset;
const at = (id) => document.getElementById(id);
const composer = at("composer"), text = at("text"), messages = at("messages"), entries = at("entries");
const query = new URLSearchParams({ as: page.user, chat: page.chat, lang: page.language });

let attached = null; // { kind, file }
let quoting = "";
let shown = null; // What the panel shows: { path, button }
let refreshing = null;
const LIMIT = 10_000; // Milliseconds that a request may take. A browser lets it wait while six others to here are open.

const isAtEnd = () => messages.scrollHeight - messages.scrollTop - messages.clientHeight < 120;
const scrollToEnd = () => { messages.scrollTop = messages.scrollHeight; };
let following = true; // Whether the end of the chat stays in view.
messages.addEventListener("scroll", () => { following = isAtEnd(); });
new ResizeObserver(() => { if (following) scrollToEnd(); }).observe(messages);

async function post(path, fields) {
  const body = new FormData();
  for (const [name, value] of [...query, ...Object.entries(fields)]) body.append(name, value);
  try {
    const headers = { "X-Playground-Token": page.token };
    const response = await fetch(path, { method: "POST", body, headers, signal: AbortSignal.timeout(LIMIT) });
    at("problem").textContent = response.ok ? "" : response.status === 413 ? page.large : await response.text();
    return response.ok;
  } catch (error) {
    at("problem").textContent = error.name === "TimeoutError" ? page.slow : page.network;
    return false;
  }
}

async function send(kind, words) {
  const fields = { kind, text: words, quote: quoting, fault: chosen("fault"), mode: chosen("mode") };
  if (attached?.file) fields.file = attached.file;
  if (!await post("/messages", fields)) return;
  text.value = "";
  detach();
  unquote();
  at("voice").checked = false;
  const none = composer.querySelector('input[name="fault"][value=""]');
  none.checked = true;
  showFault();
  text.focus();
}

const chosen = (name) => composer.querySelector(`input[name="${name}"]:checked`)?.value ?? "";

function submit() {
  const kind = attached?.kind ?? (at("voice").checked ? "voice" : "text");
  if (kind !== "text" || text.value.trim()) send(kind, text.value);
}

function attach(kind, file, name) {
  attached = { kind, file };
  const label = at("attached");
  label.hidden = false;
  label.querySelector("span").textContent = name;
  text.focus();
}

function detach() {
  attached = null;
  at("attached").hidden = true;
  for (const id of ["picture", "file"]) at(id).value = "";
}

function unquote() {
  quoting = "";
  at("quoting").hidden = true;
}

function showFault() {
  const choice = composer.querySelector('input[name="fault"]:checked');
  at("armed").textContent = choice.value ? choice.nextElementSibling.textContent : "";
}

/* The panel with what travelled. */

async function showPanel() {
  const secrets = at("secrets").getAttribute("aria-pressed") === "true";
  const wanted = shown;
  const path = `${wanted.path}?lang=${page.language}${secrets ? "&secrets=1" : ""}`;
  const response = await fetch(path, { signal: AbortSignal.timeout(LIMIT) }).catch(() => null);
  if (!response?.ok || wanted !== shown) return;
  const record = at("record");
  const folds = [...record.querySelectorAll("details")].map((each) => each.open);
  const isSame = record.dataset.path === wanted.path;
  const top = record.scrollTop;
  record.innerHTML = await response.text();
  record.dataset.path = wanted.path;
  if (isSame) [...record.querySelectorAll("details")].forEach((each, i) => { if (i in folds) each.open = folds[i]; });
  record.scrollTop = isSame ? top : 0;
}

function openPanel(path, button) {
  markOpener("false");
  shown = { path, button };
  markOpener("true");
  document.body.classList.add("open");
  const secrets = at("secrets");
  secrets.hidden = false;
  setSecrets(false);
  const title = at("travelled-title");
  title.textContent = path === "/bot" ? title.dataset.bot : title.dataset.record;
  title.focus();
  showPanel();
}

function closePanel() {
  markOpener("false");
  document.body.classList.remove("open");
  const opener = shown && (document.getElementById(shown.button.id) ?? find(shown));
  shown = null;
  opener?.focus();
}

const find = ({ button }) => button.dataset.number
  ? entries.querySelector(`[data-action="details"][data-number="${button.dataset.number}"]`) : button;

function markOpener(state) {
  const opener = shown && find(shown);
  if (opener) opener.setAttribute("aria-expanded", state);
}

function setSecrets(visible) {
  const button = at("secrets");
  button.setAttribute("aria-pressed", String(visible));
  button.textContent = visible ? button.dataset.hide : button.dataset.show;
}

function refreshPanel() {
  if (!shown || refreshing) return;
  refreshing = setTimeout(() => { refreshing = null; if (shown) showPanel(); }, 250);
}

/* What people click and type. */

const actions = {
  details: (button) => openPanel(`/travelled/${button.dataset.number}`, button),
  bot: (button) => openPanel("/bot", button),
  close: closePanel,
  quote: (button) => {
    quoting = button.dataset.number;
    at("quoting").hidden = false;
    at("quoting").querySelector("span").textContent = button.dataset.text;
    text.focus();
  },
  again: (button) => post("/actions", { action: "again", number: button.dataset.number }),
  rate: (button) => post("/actions", { action: "rate", number: button.dataset.number, rating: button.dataset.rating }),
  enter: () => post("/actions", { action: "enter", mode: chosen("mode") }),
  check: () => post("/actions", { action: "check" }),
  suggest: (button) => send(button.dataset.kind ?? "text", button.dataset.text),
  sample: (button) => attach("sample", null, button.textContent.trim()),
  detach,
  unquote,
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-action]");
  if (button) actions[button.dataset.action](button);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && shown) closePanel();
});
at("secrets").addEventListener("click", () => {
  setSecrets(at("secrets").getAttribute("aria-pressed") !== "true");
  if (shown) showPanel();
});
composer.addEventListener("submit", (event) => { event.preventDefault(); submit(); });
composer.addEventListener("change", (event) => {
  if (event.target.name === "fault") showFault();
  if (["picture", "file"].includes(event.target.id) && event.target.files[0]) {
    attach(event.target.id, event.target.files[0], event.target.files[0].name);
  }
});
text.addEventListener("keydown", (event) => {
  // An Enter that ends the composition of Chinese characters does not send.
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); submit(); }
});
text.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((each) => each.type.startsWith("image/"));
  if (file) { event.preventDefault(); attach("picture", file, file.name); }
});

/* What the server reports. */

let events = null;
let version = page.version; // Of the last event.
const connection = at("connection");
const handlers = {
  entry: ({ id, html }) => {
    const follow = following;
    const focused = document.activeElement?.closest(`#${id}`) ? document.activeElement.dataset : null;
    const old = at(id);
    if (old) old.outerHTML = html; else entries.insertAdjacentHTML("beforeend", html);
    if (focused) at(id).querySelector(`[data-action="${focused.action}"]`)?.focus();
    markOpener("true");
    if (follow || !old) scrollToEnd();
    for (const picture of at(id).querySelectorAll("img")) picture.onload = () => { if (follow || !old) scrollToEnd(); };
  },
  chats: (html) => { at("chats").innerHTML = html; refreshPanel(); },
  announce: (words) => { at("announcer").textContent = words; },
};

function listen() {
  events = new EventSource(`/events?${query}&after=${version}&instance=${page.instance}`);
  events.onopen = () => { connection.className = "connection live"; connection.textContent = page.connected; };
  events.onerror = () => { connection.className = "connection lost"; connection.textContent = page.disconnected; };
  for (const [name, handle] of Object.entries(handlers)) {
    events.addEventListener(name, (event) => { version = event.lastEventId || version; handle(JSON.parse(event.data)); });
  }
  events.addEventListener("reload", () => location.reload());
}

/* A browser opens six connections to one address. The tabs that nobody sees leave them to the others. */
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && !events) listen();
  if (document.hidden) { events?.close(); events = null; connection.className = "connection"; }
});
if (!document.hidden) listen();
scrollToEnd();
