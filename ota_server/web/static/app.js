// The status page: gets /api/v1/status every two seconds and shows what changed.

import { age } from "./format.js";
import * as render from "./render.js";

const PERIOD_MS = 2000;
const TIMEOUT_MS = 8000;
const KEY = "tidegate-token";
const SECTIONS = ["devices", "alarms", "commands", "releases"];

const byId = (id) => document.getElementById(id);
const shown = {}; // section -> JSON of what it shows, so that only changes touch the page
let clock = 0; // server time minus ours, ms
let heardAt = 0;
let timer = 0;

// The token comes in the fragment, which browsers do not send; it leaves the address bar at once.
function takeToken() {
  const found = new URLSearchParams(location.hash.slice(1)).get("token");
  if (found) {
    sessionStorage.setItem(KEY, found);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(KEY);
}

function link(kind, text) {
  const node = byId("link");
  if (node.textContent !== text) node.textContent = text;
  node.className = `link ${kind}`;
}

function askForToken(title, text) {
  byId("door-title").textContent = title;
  byId("door-text").textContent = text;
  byId("door").hidden = false;
  byId("main").hidden = true;
  byId("summary").textContent = "";
  link("bad", "not signed in");
}

async function poll() {
  clearTimeout(timer);
  const token = takeToken();
  if (!token) {
    askForToken("A token is needed", "This page shows what a token with the scope “read” may see.");
    return;
  }
  try {
    const answer = await fetch("/api/v1/status", {
      headers: { Authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (answer.status === 401 || answer.status === 403) {
      sessionStorage.removeItem(KEY);
      askForToken(
        answer.status === 401 ? "The token is not valid" : "The token may not read this",
        answer.status === 401 ? "It was mistyped or revoked, or belongs to another server." : "It lacks the scope “read”.",
      );
      return;
    }
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    show(await answer.json());
  } catch (error) {
    away(error);
  }
  timer = setTimeout(poll, PERIOD_MS);
}

function show(status) {
  clock = Date.parse(status.now) - Date.now();
  heardAt = Date.now();
  byId("door").hidden = true;
  byId("main").hidden = false;
  byId("main").classList.remove("stale");
  byId("summary").textContent = render.summary(status);
  link("good", "live");
  for (const section of SECTIONS) {
    const facts = JSON.stringify([status[section], section === "alarms" && status.counters],
      (name, value) => (name === "last_seen_s" ? undefined : value));
    if (facts === shown[section]) continue;
    shown[section] = facts;
    byId(section).replaceChildren(...render[section](status));
  }
  tick();
}

function away(error) {
  byId("main").classList.add("stale");
  const since = heardAt ? `since ${age(new Date(heardAt).toISOString(), Date.now()).replace(" ago", "")}` : "";
  const why = error.message.startsWith("the server") ? error.message : "the server does not answer";
  link("bad", `${why} ${since}; trying again`.replace("  ", " "));
}

function tick() {
  const now = Date.now() + clock;
  for (const node of document.querySelectorAll("[data-ago]")) {
    const text = age(node.dataset.ago, now);
    if (node.textContent !== text) node.textContent = text;
  }
}

byId("door-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, byId("token").value.trim());
  byId("token").value = "";
  poll();
});
window.addEventListener("hashchange", poll);
document.addEventListener("visibilitychange", () => document.hidden || poll());
setInterval(tick, 1000);
poll();
