// Plots over time, as inline SVG. All share one time axis and one cross-hair: what is pointed at in one is read in all.

const plots = [];
let pointed = null; // the time under the cross-hair

function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  Object.assign(made, properties);
  made.append(...children);
  return made;
}

function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** A number, and its unit set smaller. */
function setFigure(target, format, value) {
  if (value === null || value === undefined || Number.isNaN(value)) {
    return target.replaceChildren(element("span", { className: "none" }, "–"));
  }
  const [number, unit] = FORMATS[format](value);
  target.replaceChildren(number, ...(unit ? [element("small", {}, (unit === "%" ? "\u202f" : " ") + unit)] : []));
}

/** Round steps of 1, 2 or 5 (for bytes: of powers of two), about `wanted` of them up to `top`. */
function ticks(top, wanted, binary, whole = false) {
  const rough = top / wanted;
  const base = binary ? 2 : 10;
  const power = base ** Math.floor(Math.log(rough) / Math.log(base));
  let step = power * (binary ? 2 : [1, 2, 5, 10].find((factor) => factor * power >= rough) || 10);
  // A single line says little of a scale.
  while (top / step < 2) step /= 2;
  if (whole) step = Math.max(1, Math.floor(step));
  const found = [];
  for (let at = step; at <= top * 1.0001; at += step) found.push(at);
  return found;
}

/** What every plot has: a caption that is legend and read-out in one, an SVG of the right size, the cross-hair. */
class Plot {
  constructor(figure, { title, legend, height, gutter = 0 }) {
    Object.assign(this, { figure, title, height, gutter, points: [], from: 0, to: 1 });
    this.when = element("span", { className: "when" });
    this.values = legend.map(({ name, className }) => {
      const value = element("b", {}, "–");
      return { value, entry: element("span", { className: `entry ${className}` }, element("i", {}), `${name} `, value) };
    });
    const entries = element("span", { className: "legend" }, this.when, ...this.values.map(({ entry }) => entry));
    figure.append(element("figcaption", {}, element("span", { className: "title" }, title), entries));
    this.svg = svg("svg", { role: "img", tabindex: "0", "aria-label": title });
    this.cross = svg("line", { class: "cross", visibility: "hidden" });
    this.live = element("span", { className: "spoken", role: "status" });
    figure.append(this.svg, this.live);
    this.listen();
    new ResizeObserver(() => this.draw()).observe(figure);
    plots.push(this);
  }

  listen() {
    const at = (event) => {
      const { left } = this.svg.getBoundingClientRect();
      point(this.timeAt(event.clientX - left));
    };
    this.svg.addEventListener("pointerdown", at);
    this.svg.addEventListener("pointermove", at);
    this.svg.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && point(null));
    this.svg.addEventListener("blur", () => point(null));
    this.svg.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    const shown = this.points;
    if (event.key === "Escape") return point(null);
    if (!["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key) || !shown.length) return;
    event.preventDefault();
    const now = pointed === null ? shown.length : shown.indexOf(this.nearest(pointed));
    const next = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: shown.length - 1 }[event.key];
    point(shown[Math.max(0, Math.min(shown.length - 1, next))].time);
    const said = this.values.map(({ entry }) => entry.textContent).join(", ");
    this.live.textContent = `${clock(pointed)}: ${said}`;
  }

  x(time) {
    return this.gutter + ((time - this.from) / (this.to - this.from)) * (this.right - this.gutter);
  }

  timeAt(x) {
    const share = (x - this.gutter) / (this.right - this.gutter);
    return this.from + Math.max(0, Math.min(1, share)) * (this.to - this.from);
  }

  nearest(time) {
    let best = null;
    for (const one of this.points) if (!best || Math.abs(one.time - time) < Math.abs(best.time - time)) best = one;
    return best;
  }

  show(points, from, to) {
    Object.assign(this, { points, from, to });
    this.draw();
  }

  draw() {
    const width = Math.round(this.figure.clientWidth);
    if (!width) return;
    Object.assign(this, { width, right: width });
    this.svg.setAttribute("viewBox", `0 0 ${width} ${this.height}`);
    this.svg.setAttribute("width", width);
    this.svg.setAttribute("height", this.height);
    this.base = this.height - 20;
    this.svg.replaceChildren(...this.marks(), ...this.timeAxis(), this.cross);
    this.svg.setAttribute("aria-label", `${this.title}. ${this.summary()}`);
    this.read();
  }

  timeAxis() {
    const span = this.to - this.from;
    const most = Math.max(2, Math.floor((this.right - this.gutter) / 90));
    const step = [10, 15, 30, 60, 120, 300, 600, 900, 1200, 1800].find((seconds) => span / seconds <= most) || 3600;
    const made = [svg("line", { class: "axis", x1: this.gutter, x2: this.right, y1: this.base + 0.5, y2: this.base + 0.5 })];
    for (let at = Math.ceil(this.from / step) * step; at <= this.to; at += step) {
      const x = this.x(at);
      made.push(svg("line", { class: "axis", x1: x, x2: x, y1: this.base, y2: this.base + 4 }));
      if (x > this.gutter + 18 && x < this.right - 24) {
        made.push(svg("text", { x, y: this.height - 3, "text-anchor": "middle" }, clock(at, step < 60)));
      }
    }
    for (const { time } of this.points.filter((one) => one.restarted)) {
      const x = this.x(time);
      made.push(svg("line", { class: "restart", x1: x, x2: x, y1: 12, y2: this.base }));
      const left = x > this.right - 60;
      made.push(svg("text", { x: x + (left ? -4 : 4), y: 20, "text-anchor": left ? "end" : "start" }, "restart"));
    }
    return made;
  }

  /** The cross-hair, and the values under it or the latest. */
  read() {
    const at = pointed === null ? null : this.nearest(pointed);
    this.when.textContent = at ? clock(at.time) : "";
    const x = at ? this.x(at.time) : 0;
    const place = { x1: x, x2: x, y1: 0, y2: this.base, visibility: at && x >= this.gutter ? "visible" : "hidden" };
    for (const [key, value] of Object.entries(place)) this.cross.setAttribute(key, value);
    this.valuesAt(at || this.points.at(-1)).forEach((text, i) => (this.values[i].value.textContent = text));
  }
}

/** Moves the cross-hair of all plots. */
function point(time) {
  pointed = time;
  for (const plot of plots) plot.read();
}

/** Lines and areas over a linear scale from zero. */
class LinePlot extends Plot {
  constructor(figure, { title, format, series, height = 150, top = 1, limit = () => null, binary = false }) {
    super(figure, { title, height, legend: series });
    Object.assign(this, { format, series, least: top, limit, binary });
  }

  valuesAt(one) {
    return this.series.map(({ value }) => {
      const found = one ? value(one) : null;
      return found === null ? "–" : say(this.format, found);
    });
  }

  summary() {
    return this.series.map(({ name, value }, i) => {
      const all = this.points.map(value).filter((found) => found !== null);
      if (!all.length) return `${name}: nothing to show yet`;
      return `${name}: now ${this.valuesAt(this.points.at(-1))[i]}, highest ${say(this.format, Math.max(...all))}`;
    }).join(". ");
  }

  marks() {
    let most = this.least;
    for (const one of this.points) for (const { value } of this.series) most = Math.max(most, value(one) ?? 0);
    const limit = this.limit();
    // The limit is drawn once it is near enough to matter.
    const limited = limit !== null && most > limit / 3 && limit > most / 20;
    const top = (limited ? Math.max(most, limit) : most) * 1.08;
    const y = (value) => this.base - (value / top) * (this.base - 16);
    const made = [], labels = [];
    for (const at of ticks(top, this.height > 180 ? 4 : 3, this.binary, this.format === "count")) {
      made.push(svg("line", { class: "grid", x1: 0, x2: this.right, y1: Math.round(y(at)) + 0.5, y2: Math.round(y(at)) + 0.5 }));
      const besideLimit = limited && Math.abs(y(at) - y(limit)) < 14;
      if (!besideLimit) labels.push(svg("text", { class: "scale", x: 0, y: y(at) - 4 }, sayTick(this.format, at)));
    }
    // The first series lies on top.
    for (const one of this.series.toReversed()) made.push(...this.path(one, y));
    if (limited) {
      made.push(svg("line", { class: "limit", x1: 0, x2: this.right, y1: y(limit), y2: y(limit) }));
      labels.push(svg("text", { class: "scale", x: this.right, y: y(limit) + 13, "text-anchor": "end" }, `limit ${say(this.format, limit)}`));
    }
    return [...made, ...labels];
  }

  path({ value, className, area }, y) {
    const runs = [];
    let run = null;
    for (const one of this.points) {
      const found = value(one);
      if (found === null || one.gap) run = null;
      if (found === null) continue;
      if (!run) runs.push((run = []));
      run.push([this.x(one.time).toFixed(1), y(found).toFixed(1)]);
    }
    const made = [];
    for (const each of runs) {
      const line = each.map((pair) => pair.join(",")).join("L");
      if (area) made.push(svg("path", { class: `area ${className}`, d: `M${each[0][0]},${this.base}L${line}L${each.at(-1)[0]},${this.base}Z` }));
      made.push(svg("path", { class: `line ${className}`, d: each.length > 1 ? `M${line}` : `M${line}h0.1` }));
    }
    return made;
  }
}

/**
 * How long messages took, over time: a row for each bucket, a column for each slice of time, darker for more. P50 and P99 run over it;
 * at its right the same rows summed over the whole time shown.
 */
class HeatPlot extends Plot {
  constructor(figure, { title }) {
    super(figure, { title, height: 0, gutter: 46, legend: [
      { name: "P50", className: "median" }, { name: "P99", className: "tail" }, { name: "Messages", className: "cells" },
    ] });
    Object.assign(this, { bounds: [], columns: [], sum: [] });
  }

  draw() {
    this.height = this.figure.clientWidth < 520 ? 200 : 240;
    super.draw();
  }

  /** The rows that are shown, and how high each begins: as high as its bucket is wide on a logarithmic scale. */
  layOut() {
    const used = this.sum.flatMap((count, i) => (count ? [i] : []));
    const middle = used.length ? used[0] : this.bounds.findIndex((bound) => bound >= 0.001);
    let [low, high] = [(used[0] ?? middle) - 2, (used.at(-1) ?? middle) + 2];
    while (high - low < 9) [low, high] = [low - 1, high + 1];
    [low, high] = [Math.max(0, low), Math.min(this.bounds.length - 1, high)];
    const edges = [0];
    for (let i = low; i <= high; i++) {
      const isOpen = i === 0 || this.bounds[i] === Infinity;
      edges.push(edges.at(-1) + (isOpen ? 0.25 : Math.log10(this.bounds[i] / this.bounds[i - 1])));
    }
    const scale = (this.base - 6) / (edges.at(-1) || 1);
    Object.assign(this, { low, high, edges: edges.map((edge) => this.base - edge * scale) });
  }

  y(seconds) {
    const row = seconds === Infinity ? this.bounds.length - 1 : this.bounds.findIndex((bound) => seconds <= bound);
    const place = Math.max(0, Math.min(this.edges.length - 2, row - this.low));
    const low = row > 0 ? this.bounds[row - 1] : 0;
    const share = row === 0 || this.bounds[row] === Infinity ? 0.5 : (seconds - low) / (this.bounds[row] - low);
    return this.edges[place] + share * (this.edges[place + 1] - this.edges[place]);
  }

  /** The top and the height of a bucket's row. */
  row(i) {
    const [bottom, top] = [this.edges[i - this.low], this.edges[i - this.low + 1]];
    return { y: top, height: bottom - top };
  }

  marks() {
    const side = Math.min(150, Math.round(this.width * 0.2));
    this.right = this.width - side - 16;
    this.base = this.height - 20;
    this.gather();
    this.layOut();
    const made = [];
    let labelled = Infinity;
    this.edges.forEach((y, i) => {
      const bound = this.bounds[this.low + i - 1];
      made.push(svg("line", { class: "grid", x1: this.gutter, x2: this.right, y1: y, y2: y }));
      if (!i || bound === Infinity || labelled - y < 15) return;
      labelled = y;
      made.push(svg("text", { x: this.gutter - 6, y: y + 4, "text-anchor": "end" }, sayBound(bound)));
    });
    const most = Math.max(1, ...this.columns.flatMap((column) => column.counts));
    for (const { start, end, counts } of this.columns) {
      const left = Math.max(this.gutter, this.x(start));
      const wide = this.x(end) - left - 1;
      counts.forEach((count, i) => {
        if (!count || wide <= 0) return;
        const shade = (0.14 + 0.86 * Math.sqrt(count / most)).toFixed(3);
        const { y, height } = this.row(i);
        made.push(svg("rect", { class: "cell", x: left.toFixed(1), width: wide.toFixed(1), y: y + 0.5, height: height - 1, "fill-opacity": shade }));
      });
    }
    if (!this.sum.some((count) => count > 0)) {
      const x = (this.gutter + this.right) / 2, y = this.base / 2 + 4;
      made.push(svg("text", { class: "scale nothing", x, y, "text-anchor": "middle" }, "No mail in the time shown"));
    }
    return [...made, ...this.curve(0.5, "median"), ...this.curve(0.99, "tail"), ...this.distribution(side)];
  }

  /** As many polls to a column as fit; which ones go together does not change while the axis moves. */
  gather() {
    const room = Math.max(20, (this.right - this.gutter) / 9);
    const polls = [1, 2, 3, 5, 10, 15, 30, 60].find((count) => this.points.length <= count * room) || 120;
    this.columns = [];
    let column = null;
    for (const one of this.points) {
      if (one.gap) {
        column = null;
        continue;
      }
      const group = Math.floor(one.number / polls);
      if (!column || column.group !== group) {
        column = { group, start: one.time - one.seconds, joined: column !== null, counts: this.bounds.map(() => 0) };
        this.columns.push(column);
      }
      column.end = one.time;
      column.numbers = [column.numbers?.[0] ?? one.number, one.number];
      one.processing.forEach((count, i) => (column.counts[i] += count));
    }
    this.sum = addBuckets(this.points, "processing");
  }

  curve(q, className) {
    let path = "", drawing = false;
    for (const { start, end, joined, counts } of this.columns) {
      const value = quantile(this.bounds, counts, q);
      const x = Math.max(this.gutter, this.x((start + end) / 2));
      if (value !== null) path += `${drawing && joined ? "L" : "M"}${x.toFixed(1)},${this.y(value).toFixed(1)}`;
      drawing = value !== null;
    }
    return path ? [svg("path", { class: `line halo`, d: path }), svg("path", { class: `line ${className}`, d: path })] : [];
  }

  distribution(side) {
    const all = this.sum.reduce((sum, count) => sum + count, 0);
    const left = this.width - side;
    const made = [svg("line", { class: "axis", x1: left - 0.5, x2: left - 0.5, y1: this.edges.at(-1), y2: this.base })];
    if (!all) return made;
    const most = Math.max(...this.sum);
    const room = side - (side > 100 ? 46 : 0);
    this.sum.forEach((count, i) => {
      if (!count) return;
      const wide = Math.max(1, (count / most) * room);
      const { y, height } = this.row(i);
      made.push(svg("rect", { class: "cell", x: left, y: y + 1, width: wide, height: Math.max(1, height - 2) }));
      const share = (100 * count) / all;
      if (side > 100 && height > 10) made.push(svg("text", { x: left + wide + 5, y: y + height / 2 + 4 }, share < 0.1 ? "< 0.1%" : `${share.toFixed(share < 10 ? 1 : 0)}%`));
    });
    return made;
  }

  valuesAt(one) {
    const column = one && this.columns.find(({ numbers: [first, last] }) => first <= one.number && one.number <= last);
    if (!column) return ["–", "–", "–"];
    const all = column.counts.reduce((sum, count) => sum + count, 0);
    return [...[0.5, 0.99].map((q) => sayQuantile(this.bounds, quantile(this.bounds, column.counts, q))), say("count", all)];
  }

  summary() {
    const all = this.sum.reduce((sum, count) => sum + count, 0);
    const [p50, p99] = [0.5, 0.99].map((q) => sayQuantile(this.bounds, quantile(this.bounds, this.sum, q)));
    return all ? `${say("count", all)} messages, half of them within ${p50}, 99 percent within ${p99}` : "No messages in the time shown";
  }
}

function sayQuantile(bounds, value) {
  if (value === null) return "–";
  const [before, meant] = boundOf(bounds, value);
  return before + (before ? sayBound(meant) : say("duration", meant));
}
