// The page of one device: its timeline, newest first, followed as it goes on.

import { details, el } from "./dom.js";
import { age } from "./format.js";
import { away, byId, get, onReturn } from "./session.js";

const PERIOD_MS = 2000;
const PAGE = 50;
const BAD = new Set(["crash", "alarm"]);
const GOOD = new Set(["trial", "birth"]);

const base = `devices/${encodeURIComponent(byId("main").dataset.device)}/timeline`;
let since = null; // where to go on for what is newer
let before = null; // and for what is older
let timer = 0;
let round = 0; // a change of the filter begins a new one; answers of older ones are thrown away

function ask(words) {
  const kinds = [...document.querySelectorAll("#filter input:checked")].map((box) => box.value);
  return get(`${base}?${new URLSearchParams({ limit: PAGE, ...(kinds.length && { kind: kinds.join() }), ...words })}`);
}

async function poll() {
  clearTimeout(timer);
  const mine = round;
  try {
    const answer = await ask(since === null ? {} : { since });
    if (answer === null || mine !== round) return;
    if (since === null) {
      byId("timeline").replaceChildren(...answer.timeline.map(line));
      before = answer.before;
    } else {
      byId("timeline").prepend(...answer.timeline.map(line).reverse());
    }
    since = answer.since;
    show(answer);
  } catch (error) {
    away(error, age);
  }
  if (mine === round) timer = setTimeout(poll, PERIOD_MS);
}

async function older() {
  const mine = round;
  try {
    const answer = await ask({ before });
    if (answer === null || mine !== round) return;
    byId("timeline").append(...answer.timeline.map(line));
    before = answer.before;
    byId("older").hidden = before === null;
  } catch (error) {
    away(error, age);
  }
}

function show(answer) {
  const silent = answer.silent_since && `nothing heard for ${age(answer.silent_since, Date.now()).replace(" ago", "")}`;
  byId("summary").textContent = [answer.name && answer.id, silent].filter(Boolean).join(" · ");
  byId("empty").hidden = byId("timeline").childElementCount > 0;
  byId("older").hidden = before === null;
}

function line(entry) {
  const kind = BAD.has(entry.kind) ? "bad" : GOOD.has(entry.kind) ? "good" : "plain";
  return el("li", {},
    el("p", {},
      el("span", { class: `tag ${kind}` }, entry.kind), " ", entry.text, " ",
      el("time", { class: "quiet", datetime: entry.at }, new Date(entry.at).toLocaleString())),
    entry.body.trace && details(entry.id, "trace", el("pre", {}, entry.body.trace)));
}

byId("older").addEventListener("click", older);
byId("filter").addEventListener("change", () => {
  round += 1;
  since = null;
  poll();
});
onReturn(poll);
poll();
