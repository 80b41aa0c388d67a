// The token of this tab, and requests with it. Without a good one the door is shown in place of the page.

const TIMEOUT_MS = 8000;
const KEY = "tidegate-token";

export const byId = (id) => document.getElementById(id);

let heardAt = 0;

// The token comes in the fragment, which browsers do not send; it leaves the address bar at once.
function takeToken() {
  const found = new URLSearchParams(location.hash.slice(1)).get("token");
  if (found) {
    sessionStorage.setItem(KEY, found);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(KEY);
}

export function link(kind, text) {
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

// The answer to GET `path` of the API; null while the door is shown. Throws when the server is away or says something else.
export async function get(path) {
  const token = takeToken();
  if (!token) {
    askForToken("A token is needed", "This page shows what a token with the scope “read” may see.");
    return null;
  }
  const answer = await fetch(`/api/v1/${path}`, {
    headers: { Authorization: `Bearer ${token}` },
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  if (answer.status === 401 || answer.status === 403) {
    sessionStorage.removeItem(KEY);
    askForToken(
      answer.status === 401 ? "The token is not valid" : "The token may not read this",
      answer.status === 401 ? "It was mistyped or revoked, or belongs to another server." : "It lacks the scope “read”.",
    );
    return null;
  }
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  const found = await answer.json();
  heardAt = Date.now();
  byId("door").hidden = true;
  byId("main").hidden = false;
  byId("main").classList.remove("stale");
  link("good", "live");
  return found;
}

// What was shown stays, dimmed; `age` gives words for a time.
export function away(error, age) {
  byId("main").classList.add("stale");
  const since = heardAt ? `since ${age(new Date(heardAt).toISOString(), Date.now()).replace(" ago", "")}` : "";
  const why = error.message.startsWith("the server") ? error.message : "the server does not answer";
  link("bad", `${why} ${since}; trying again`.replace("  ", " "));
}

// Has `poll` called whenever there may be another token, or somebody looks again.
export function onReturn(poll) {
  byId("door-form").addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(KEY, byId("token").value.trim());
    byId("token").value = "";
    poll();
  });
  window.addEventListener("hashchange", poll);
  document.addEventListener("visibilitychange", () => document.hidden || poll());
}
