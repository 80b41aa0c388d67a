// Builds elements. Every text goes in as a text node, so nothing a device says can become markup.

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value == null) continue;
    node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child != null && child !== false && child !== ""));
  return node;
}

// A time that `tick` keeps current.
export function ago(iso, fallback = "never") {
  return iso ? el("time", { datetime: iso, title: new Date(iso).toLocaleString(), "data-ago": iso }) : fallback;
}

const opened = new Set(); // keys of the details that a reader opened: they stay so when the page is drawn anew

export function details(key, summary, ...children) {
  const node = el("details", { open: opened.has(key) }, el("summary", {}, summary), ...children);
  node.addEventListener("toggle", () => (node.open ? opened.add(key) : opened.delete(key)));
  return node;
}

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 96;
const HEIGHT = 22;

export function sparkline(values, label) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("class", "spark");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  const low = Math.min(...values);
  const span = Math.max(...values) - low;
  const step = (WIDTH - 4) / Math.max(1, values.length - 1);
  const points = values.map((v, i) => {
    const y = span ? 2 + (HEIGHT - 4) * (1 - (v - low) / span) : HEIGHT / 2;
    return `${(2 + i * step).toFixed(1)},${y.toFixed(1)}`;
  });
  const line = document.createElementNS(SVG, "polyline");
  line.setAttribute("points", points.join(" "));
  svg.append(line);
  return svg;
}
