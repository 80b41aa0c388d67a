// The crosshair of charts: the value under the pointer, or the one that the arrow keys came to.

const SHOWN = new Intl.NumberFormat("en", { maximumSignificantDigits: 5 });

function values(svg) {
  return svg.dataset.values.split(";").map((one) => {
    const [at, x, y, value, low, high] = one.split(",").map(Number);
    return { at, x, y, value, low, high };
  });
}

function mark(figure, index) {
  const svg = figure.querySelector("svg");
  const found = values(svg);
  const one = found[Math.max(0, Math.min(found.length - 1, index))];
  const [line, dot] = svg.querySelectorAll(".cross");
  for (const end of ["x1", "x2"]) line.setAttribute(end, one.x);
  dot.setAttribute("cx", one.x);
  dot.setAttribute("cy", one.y);
  const output = figure.querySelector("output");
  const band = one.low === one.high ? "" : ` (${SHOWN.format(one.low)} to ${SHOWN.format(one.high)})`;
  output.textContent = `${SHOWN.format(one.value)} ${output.dataset.unit}${band} · ${new Date(one.at).toLocaleString()}`;
  figure.dataset.at = found.indexOf(one);
}

export function watchCharts() {
  const charts = document.getElementById("charts");
  charts?.addEventListener("pointermove", (event) => {
    const svg = event.target.closest("svg[data-values]");
    if (!svg) return;
    const box = svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    const found = values(svg);
    let best = 0;
    for (let i = 1; i < found.length; i += 1) if (Math.abs(found[i].x - x) < Math.abs(found[best].x - x)) best = i;
    mark(svg.closest("figure"), best);
  });
  charts?.addEventListener("keydown", (event) => {
    const figure = event.target.closest("figure");
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (!step || event.target !== figure || !figure.querySelector("svg")) return;
    event.preventDefault();
    const last = values(figure.querySelector("svg")).length - 1;
    mark(figure, Number(figure.dataset.at ?? last) + step);
  });
}
