// Times as ages, kept current; the exact time is their title.

export function age(iso, now) {
  const s = (now - Date.parse(iso)) / 1000;
  if (s < 0) return new Date(iso).toLocaleString();
  if (s < 60) return `${Math.floor(s)} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  if (s < 172800) return `${Math.floor(s / 3600)} h ago`;
  return `${Math.floor(s / 86400)} days ago`;
}

export function tick() {
  for (const node of document.querySelectorAll("time")) {
    if (!node.title) node.title = new Date(node.dateTime).toLocaleString();
    const text = age(node.dateTime, Date.now());
    if (node.textContent !== text) node.textContent = text;
  }
}
