// Values as people read them.

export function age(iso, now) {
  if (!iso) return "never";
  const s = Math.max(0, (now - Date.parse(iso)) / 1000);
  if (s < 60) return `${Math.floor(s)} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  if (s < 172800) return `${Math.floor(s / 3600)} h ago`;
  return `${Math.floor(s / 86400)} days ago`;
}

export function bytes(n) {
  if (n < 1024) return `${n} B`;
  return n < 1048576 ? `${(n / 1024).toFixed(1)} KiB` : `${(n / 1048576).toFixed(1)} MiB`;
}

// Up to four significant digits, never exponents: 23.46, 1234.6, 0.0012.
export function number(v) {
  if (typeof v !== "number") return String(v ?? "–");
  if (Number.isInteger(v)) return v.toLocaleString("en", { useGrouping: Math.abs(v) >= 10000 });
  const digits = Math.abs(v) >= 1000 ? 1 : Math.abs(v) >= 1 ? 2 : 4;
  return v.toFixed(digits).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
}

// SenML's unit names that people write otherwise.
const UNITS = { Cel: "°C", "%RH": "% RH", count: "", "/": "" };

export function unit(u) {
  return u == null ? "" : (UNITS[u] ?? u);
}
