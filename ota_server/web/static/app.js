// The status page: gets /api/v1/status every two seconds and shows what changed.

import { age } from "./format.js";
import * as render from "./render.js";
import { away, byId, get, onReturn } from "./session.js";

const PERIOD_MS = 2000;
const SECTIONS = ["devices", "alarms", "commands", "releases"];

const shown = {}; // section -> JSON of what it shows, so that only changes touch the page
let clock = 0; // server time minus ours, ms
let timer = 0;

async function poll() {
  clearTimeout(timer);
  try {
    const status = await get("status");
    if (status === null) return;
    show(status);
  } catch (error) {
    away(error, age);
  }
  timer = setTimeout(poll, PERIOD_MS);
}

function show(status) {
  clock = Date.parse(status.now) - Date.now();
  byId("summary").textContent = render.summary(status);
  for (const section of SECTIONS) {
    const facts = JSON.stringify([status[section], section === "alarms" && status.counters],
      (name, value) => (name === "last_seen_s" ? undefined : value));
    if (facts === shown[section]) continue;
    shown[section] = facts;
    byId(section).replaceChildren(...render[section](status));
  }
  tick();
}

function tick() {
  const now = Date.now() + clock;
  for (const node of document.querySelectorAll("[data-ago]")) {
    const text = age(node.dataset.ago, now);
    if (node.textContent !== text) node.textContent = text;
  }
}

onReturn(poll);
setInterval(tick, 1000);
poll();
