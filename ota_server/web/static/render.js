// The sections of the page, from the answer of /api/v1/status.

import { ago, details, el, sparkline } from "./dom.js";
import { bytes, number, unit } from "./format.js";

const PHASES = {
  offered: "offered", fetching: "fetching", applying: "applying the patch", waiting: "waiting for the application", installed: "installed",
  trial: "on trial", confirmed: "confirmed", "rolled-back": "rolled back", refused: "refused",
  failed: "failed", current: "up to date",
};
const BAD = new Set(["rolled-back", "refused", "failed"]);
const GOOD = new Set(["confirmed", "current"]);

export function summary(status) {
  const { devices, online, updating, retrying, failed } = status.counts;
  const parts = [`${online} of ${devices} online`];
  if (updating) parts.push(`${updating} updating`);
  if (retrying) parts.push(`${retrying} trying again`);
  if (failed) parts.push(`${failed} not updated`);
  const shown = status.devices.length;
  if (shown < devices) parts.push(`${shown} shown, those in trouble first`);
  return parts.join(" · ");
}

export function devices(status) {
  if (!status.devices.length) {
    return [empty("No device is registered yet. They appear here as soon as they are, and speak soon after.")];
  }
  return status.devices.map(device);
}

function device(d) {
  const state = d.revoked ? "revoked" : d.online ? "online" : "offline";
  return el("article", { class: `card ${state}`, "aria-label": `Device ${d.name ?? d.id}` },
    el("header", {},
      el("h3", { title: d.id }, el("span", { class: "dot", "aria-hidden": "true" }), el("a", { href: `/devices/${d.id}` }, d.name ?? d.id)),
      el("span", { class: d.revoked ? "tag bad" : "tag" }, state),
      d.cloned && el("span", { class: "tag bad", title: "two boards show its identity; see its alarms" }, "cloned?"), el("span", { class: "tag plain" }, d.protocol.toUpperCase())),
    el("p", { class: "what" },
      el("strong", {}, d.version ?? "not born yet"),
      d.sequence != null && el("span", { class: "quiet" }, ` #${d.sequence}`),
      d.trial && el("span", { class: "tag busy" }, "trial")),
    el("dl", { class: "facts" },
      d.name && fact("id", d.id),
      fact("product", d.product), fact("board", d.board),
      fact("last seen", ago(d.last_seen)), d.reset_cause && fact("last reset", d.reset_cause),
      d.trust?.version != null && fact("trust store", trust(d.trust))),
    update(d), crash(d), measurements(d), streams(d));
}

function crash(d) {
  if (!d.crash) return null;
  const summary = [el("span", { class: "tag bad" }, "crash"), " ", el("strong", {}, d.crash.reason), ", ", ago(d.crash.last_time)];
  return el("div", { class: "crash" }, details(`crash ${d.id} ${d.crash.id}`, summary,
    d.crash.detail && el("p", { class: "detail" }, d.crash.detail),
    el("pre", {}, d.crash.trace ?? "The device kept no trace of it.")));
}

function streams(d) {
  if (!d.streams?.length) return null;
  const lost = d.streams.reduce((sum, s) => sum + s.dropped, 0);
  const text = d.streams.map((s) => `${s.stream} ${s.packs} packs${s.dropped ? `, ${s.dropped} lost` : ""}`).join("; ");
  return el("p", { class: lost ? "streams why" : "streams quiet" }, text);
}

function trust(t) {
  return t.state === "behind"
    ? [`version ${t.version} `, el("span", { class: "tag busy", title: `version ${t.newest} is published` }, "behind")]
    : `version ${t.version}`;
}

function fact(name, value) {
  return el("div", {}, el("dt", {}, name), el("dd", {}, value));
}

function update(d) {
  const lines = [];
  const u = d.update;
  if (u) {
    const kind = BAD.has(u.phase) ? "bad" : GOOD.has(u.phase) ? "good" : "busy";
    lines.push(el("p", {},
      el("span", { class: `tag ${kind}` }, PHASES[u.phase] ?? u.phase), " ",
      el("span", { class: "quiet" }, `release #${u.sequence}, `, ago(new Date(u.at).toISOString()))));
    if (u.progress && u.progress.total > 0 && kind === "busy") {
      const { done, total } = u.progress;
      const share = Math.min(100, Math.round((100 * done) / total));
      lines.push(el("div", { class: "progress" },
        el("progress", { max: total, value: done, "aria-label": `${PHASES[u.phase] ?? u.phase} on ${d.id}` }),
        el("span", {}, `${share} % of ${bytes(total)}`)));
    }
    if (u.detail && u.detail !== PHASES[u.phase]) lines.push(el("p", { class: kind === "bad" ? "why" : "quiet" }, u.detail));
  }
  const o = d.offer;
  if (o && o.state !== "running") {
    const text = {
      waiting: `${o.version} #${o.sequence} is about to be offered`,
      offered: `${o.version} #${o.sequence} is offered`,
      retrying: `${o.version} #${o.sequence} did not work yet; the device tries it again by itself`,
      failed: `${o.version} #${o.sequence} did not work here; the device keeps what it runs until a newer release or a retry`,
    }[o.state];
    lines.push(el("p", { class: ["failed", "retrying"].includes(o.state) ? "why" : "quiet" }, text));
  }
  for (const [name, part] of Object.entries(d.data ?? {})) {
    const held = part.sequence === null ? "none" : `#${part.sequence}`;
    const next = part.offer && part.offer.state !== "running" ? `, #${part.offer.sequence} is ${part.offer.state}` : "";
    lines.push(el("p", { class: part.offer?.state === "failed" ? "why" : "quiet" }, `data ${name}: ${held}${next}`));
  }
  return lines.length > 0 && el("div", { class: "update" }, lines);
}

function measurements(d) {
  const names = Object.keys(d.telemetry);
  if (!names.length) return null;
  return el("table", { class: "telemetry" },
    el("caption", { class: "unseen" }, `Telemetry of ${d.id}`),
    el("tbody", {}, names.map((name) => {
      const m = d.telemetry[name];
      const value = `${number(m.value)} ${unit(m.unit)}`.trim();
      return el("tr", {},
        el("th", { scope: "row" }, name),
        el("td", { class: "trend" }, m.trend?.length > 1 && sparkline(m.trend, `${name}, last ${m.trend.length} values`)),
        el("td", { class: "value", title: m.at }, value));
    })));
}

export function alarms(status) {
  const rows = status.alarms.map((a) => el("li", {},
    el("p", {},
      el("span", { class: `tag ${a.source === "server" ? "plain" : "bad"}` }, a.kind), " ",
      el("strong", {}, a.reason), a.count > 1 && ` × ${a.count}`),
    a.detail && el("p", { class: "detail" }, a.detail),
    a.trace && details(`alarm ${a.id}`, "trace", el("pre", {}, a.trace)),
    el("p", { class: "quiet" }, a.device ?? "server", a.source === "server" && a.device ? " (seen by the server), " : ", ", ago(a.last_time))));
  const odd = Object.entries(status.counters).filter(([, n]) => n > 0).map(([name, n]) => `${n} ${name}`);
  if (odd.length) rows.push(el("li", {}, el("p", { class: "quiet" }, `Dropped: ${odd.join(", ")}`)));
  return rows.length ? [el("ul", { class: "list" }, rows)] : [empty("None.")];
}

const ENDED = { done: "good", failed: "bad", refused: "bad", expired: "bad", cancelled: "plain" };

export function commands(status) {
  const rows = status.commands.map((c) => el("li", {},
    el("p", {},
      el("span", { class: `tag ${ENDED[c.outcome ?? c.state] ?? "busy"}` }, c.outcome ?? c.state), " ",
      el("strong", {}, c.opcode), " → ", c.device),
    c.why && el("p", { class: "detail" }, c.why),
    details(`command ${c.cti} ${c.device}`, c.history.map((step) => step.state).join(" → "),
      el("ol", { class: "history" }, c.history.map((step) => el("li", {},
        el("strong", {}, step.state), " ", ago(step.at), el("span", { class: "quiet" }, ` by ${step.by}`),
        step.why && el("p", { class: "detail" }, step.why))))),
    c.output_size > 0 && el("p", { class: "quiet" }, `${bytes(c.output_size)} of output: `, el("code", {}, `tidegate cmd show ${c.cti}`)),
    el("p", { class: "quiet" }, el("code", {}, c.cti), ", ", ago(c.ended ?? c.uplinked ?? c.created))));
  return rows.length ? [el("ul", { class: "list" }, rows)] : [empty("None sent yet.")];
}

export function releases(status) {
  const rows = status.releases.map((r) => el("li", {},
    el("p", {}, el("strong", {}, r.version), ` #${r.sequence} `, el("span", { class: "quiet" }, r.product)),
    Object.entries(r.targets).map(([board, t]) => {
      const patches = t.patches.length ? `, patch ${t.patches.map((p) => bytes(p.size)).join(", ")}` : "";
      return el("p", { class: "quiet" }, `${board}: image ${bytes(t.image.size)}${patches}`);
    }),
    el("p", { class: "quiet" }, "published ", ago(r.created))));
  return rows.length ? [el("ul", { class: "list" }, rows)] : [empty("None published yet.")];
}

function empty(text) {
  return el("p", { class: "quiet empty" }, text);
}
