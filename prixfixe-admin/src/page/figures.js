"use strict";
// What the numbers are: the Prometheus text format, the server's history, quantiles, units.

const EVERY = 2000; // milliseconds between two samples, and between two polls
const RING = 1800; // points kept: an hour
const GAP = 10; // seconds without a reading after which a line is broken rather than drawn through

/** The series of a text exposition: a list of {key, name, labels, value, raw} in their order; `key` as it stands there. */
function parseMetrics(text) {
  const series = [];
  for (const line of text.split("\n")) {
    const match = /^(([a-zA-Z_:][\w:]*)(?:\{(.*)\})?)\s+(\S+)/.exec(line);
    if (!match) continue;
    const labels = {};
    for (const [, name, value] of (match[3] || "").matchAll(/(\w+)="((?:\\.|[^"\\])*)"/g)) {
      labels[name] = value.replace(/\\(.)/g, (_, c) => (c === "n" ? "\n" : c));
    }
    series.push({ key: match[1], name: match[2], labels, value: parseNumber(match[4]), raw: match[4] });
  }
  return series;
}

function parseNumber(text) {
  return /^[+-]?inf$/i.test(text) ? (text[0] === "-" ? -Infinity : Infinity) : Number(text);
}

/** The readings of one poll, by name. */
class Metrics {
  constructor(text) {
    this.names = new Map();
    for (const one of parseMetrics(text)) {
      if (!this.names.has(one.name)) this.names.set(one.name, []);
      this.names.get(one.name).push(one);
    }
  }
  all(name) {
    return this.names.get(name) || [];
  }
  /** The sum over all label values; null where the server has no such metric. */
  sum(name, matches = () => true) {
    const all = this.all(name).filter((one) => matches(one.labels));
    return this.names.has(name) ? all.reduce((sum, one) => sum + one.value, 0) : null;
  }
}

/** Where a series of the history belongs: a bucket of a histogram, or by its own name. */
function seriesOf(name, bounds) {
  const bucket = /^(processing|delivery)\{le="(.*)"\}$/.exec(name);
  return bucket ? { histogram: bucket[1], place: bounds.indexOf(parseNumber(bucket[2])) } : { name };
}

/**
 * One point of the plots, of a sample of the server's: its number, its milliseconds since 1970, and by turns an index of a series
 * and a value. `gained` holds only what changed, and gauges are among it: each has the value that it had.
 */
function makePoint(series, [number, milliseconds, ...pairs], bounds, before, restarted) {
  const time = milliseconds / 1000;
  const seconds = before && !restarted ? time - before.time : EVERY / 1000;
  const point = { number, time, seconds, restarted, gained: new Map(), processing: bounds.map(() => 0), delivery: bounds.map(() => 0) };
  point.gap = restarted || seconds <= 0 || seconds > GAP;
  for (let i = 0; i + 1 < pairs.length; i += 2) {
    const { histogram, place, name } = series[pairs[i]];
    if (name !== undefined) point.gained.set(name, pairs[i + 1]);
    else if (place >= 0) point[histogram][place] = pairs[i + 1];
  }
  return point;
}

/** What a gauge was; what is not in a sample was 0. */
function gaugeOf(point, name) {
  return point.gained.get(name) ?? 0;
}

/** What all series of a name gained in a point, per second; null where the line has to break. */
function rateOf(point, name) {
  if (point.gap) return null;
  let sum = 0;
  for (const [key, more] of point.gained) if (key === name || key.startsWith(`${name}{`)) sum += more;
  return sum / point.seconds;
}

function addBuckets(points, which) {
  const sum = [];
  for (const point of points) point[which].forEach((count, i) => (sum[i] = (sum[i] || 0) + count));
  return sum;
}

/**
 * The q-quantile, linear within its bucket as PromQL's histogram_quantile takes it. In the first bucket it is that one's upper
 * bound: where in it, nobody knows. Infinity: it lies over the last bound. Null: nothing was observed.
 */
function quantile(bounds, counts, q) {
  const all = counts.reduce((sum, count) => sum + count, 0);
  if (!all) return null;
  let left = q * all;
  for (let i = 0; i < counts.length; i++) {
    if (counts[i] && left <= counts[i]) {
      if (bounds[i] === Infinity || i === 0) return bounds[i];
      return bounds[i - 1] + ((bounds[i] - bounds[i - 1]) * left) / counts[i];
    }
    left -= counts[i];
  }
  return Infinity;
}

/** A quantile as a figure: what is before it, and the value that is meant. */
function boundOf(bounds, value) {
  if (value === Infinity) return ["> ", bounds.at(-2) ?? 0];
  return [value !== null && value === bounds[0] ? "< " : "", value];
}

// Units. Each gives [number, unit]: the unit is set smaller.

const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const three = new Intl.NumberFormat("en", { minimumSignificantDigits: 3, maximumSignificantDigits: 3 });

/** Three digits, zeros kept so that a figure does not change its width; whole numbers stay whole. */
function significant(value) {
  return value >= 100 || Number.isInteger(value) ? plain.format(value) : three.format(value);
}

const FORMATS = {
  count: (value) => [plain.format(value), ""],
  perSecond: (value) => [FORMATS.rate(value)[0], ""],
  rate: (value) => [value >= 100 ? plain.format(value) : value.toFixed(value ? 1 : 0), "/s"],
  // Rounded down: 99.996 % is not 100.
  percent: (value) => [(Math.floor(value * 10000 + 1e-6) / 100).toFixed(value === 1 ? 0 : 2), "%"],
  points: (value) => [value >= 10 || !value ? plain.format(value) : value.toFixed(1), "%"],
  bytes: (value) => {
    const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let step = 0;
    while (value >= 1024 && step < units.length - 1) [value, step] = [value / 1024, step + 1];
    return [significant(value), units[step]];
  },
  duration: (seconds) => {
    if (seconds >= 1) return [significant(seconds), "s"];
    if (seconds >= 0.001) return [significant(seconds * 1000), "ms"];
    return [significant(seconds * 1e6), "µs"];
  },
};

/** A bound of a bucket, as short as it can be written. */
function sayBound(seconds) {
  const [scale, unit] = seconds >= 1 ? [1, "s"] : seconds >= 0.001 ? [1e3, "ms"] : [1e6, "µs"];
  return `${Number((seconds * scale).toPrecision(3))} ${unit}`;
}

function say(format, value) {
  const [number, unit] = FORMATS[format](value);
  return unit && unit !== "%" ? `${number} ${unit}` : number + unit;
}

/** A round number at an axis, without the zeros that keep a figure as wide as it was: 50 /s, not 50.0 /s. */
function sayTick(format, value) {
  return say(format, value).replace(/\.0+(?=\D|$)/, "");
}

/** A time span in its two largest units. */
function span(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  const parts = [[Math.floor(s / 86400), "d"], [Math.floor(s / 3600) % 24, "h"], [Math.floor(s / 60) % 60, "min"], [s % 60, "s"]];
  const first = parts.findIndex(([count]) => count > 0);
  if (first < 0) return "0 s";
  return parts.slice(first, first + 2).filter(([count], i) => !i || count).map(([count, unit]) => `${count} ${unit}`).join(" ");
}

function clock(time, seconds = true) {
  const options = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  if (seconds) options.second = "2-digit";
  return new Date(time * 1000).toLocaleTimeString("en-GB", options);
}
