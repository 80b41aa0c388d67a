// Keeps an open page current. Without it the pages work all the same, and stand still.

import { watchCharts } from "./charts.js";
import { watchCommand } from "./command.js";
import { tick } from "./times.js";

const AWAY_MS = 12000; // the server sends something every few seconds

const link = document.getElementById("link");
let state = document.body.dataset.state;
let source = null;
let heardAt = Date.now();

function listen() {
  source?.close();
  const address = new URL(location.href);
  address.hash = "";
  address.searchParams.set("state", state);
  source = new EventSource(address);
  source.addEventListener("same", heard);
  source.addEventListener("page", (event) => {
    state = event.lastEventId;
    show(new DOMParser().parseFromString(event.data, "text/html"));
    heard();
  });
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) over();
  });
}

function heard() {
  heardAt = Date.now();
  say("good", "live");
}

// The session ended, the page is gone or the server is: asking once more tells which.
async function over() {
  try {
    const answer = await fetch(location.href, { method: "HEAD", redirect: "manual" });
    if (answer.type === "opaqueredirect" || (answer.status >= 400 && answer.status < 500)) return location.reload();
  } catch {
    // it is away: below
  }
  away();
  setTimeout(listen, 3000);
}

function away() {
  document.body.classList.add("stale");
  const since = new Date(heardAt).toLocaleTimeString();
  say("bad", `the server does not answer since ${since}; trying again`);
}

function say(kind, text) {
  if (kind === "good") document.body.classList.remove("stale");
  if (link.textContent !== text) link.textContent = text;
  link.className = `link ${kind}`;
}

// Replaces the live parts that changed. What a reader opened, chose or stands on stays.
function show(next) {
  for (const fresh of next.querySelectorAll("[data-live]")) {
    const old = document.getElementById(fresh.id);
    if (!old) return location.reload(); // a part that was not there before
    if (old.dataset.was === fresh.innerHTML) continue;
    const opened = [...old.querySelectorAll("details[open][id]")].map((node) => node.id);
    const checked = [...old.querySelectorAll("input:checked[id]")].map((node) => node.id);
    const focus = old.contains(document.activeElement) ? document.activeElement : null;
    const place = focus && (focus.id ? `#${CSS.escape(focus.id)}` : focus.href && `a[href="${CSS.escape(focus.getAttribute("href"))}"]`);
    old.dataset.was = fresh.innerHTML;
    old.replaceChildren(...[...fresh.childNodes].map((node) => document.adoptNode(node)));
    for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
    for (const id of checked) {
      const box = document.getElementById(id);
      if (box) box.checked = true;
    }
    if (place) old.querySelector(place)?.focus({ preventScroll: true });
  }
  tick();
}

if (document.querySelector("[data-live]")) {
  document.addEventListener("visibilitychange", () => (document.hidden ? source?.close() : listen()));
  setInterval(() => {
    tick();
    if (!document.hidden && Date.now() - heardAt > AWAY_MS) away();
  }, 1000);
  listen();
}
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select")) return;
  const search = document.querySelector("form[role=search] input");
  if (!search) return;
  event.preventDefault();
  search.focus();
});
tick();
watchCharts();
watchCommand();
