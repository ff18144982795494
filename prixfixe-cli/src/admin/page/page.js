// The page: asks, keeps the history, and puts the numbers where they belong. Text from the server is only ever set as text.

const EVERY = 2000;
const PATIENCE = 5000;
const FEW = 10; // rows of the table of refusals until more are asked for
const SUCCESS = "smtp_messages_success_total", FAILED = "smtp_messages_failed_total";
const CONNECTIONS = "smtp_connections_total", HANDSHAKES = "smtp_tls_handshakes_total";
const STATES = { ready: "Ready", draining: "Draining", failing: "Cannot deliver", degraded: "Degraded" };

/** What the codes of refused commands mostly stand for; the reply itself is among the latest refusals. */
const CODES = {
  421: "session ended", 450: "later", 451: "local fault", 452: "too many recipients", 500: "unknown or malformed", 501: "bad argument",
  502: "not implemented", 503: "out of order", 530: "TLS required", 550: "refused", 552: "too large", 553: "address not allowed",
  554: "refused", 555: "bad parameter",
};

const byId = (id) => document.getElementById(id);
const kept = { points: [], last: null };
let bounds = [];
let shownSeconds = 300;
let answered = null; // when the server answered last
let trouble = null; // why it did not
let timer = null, asking = false;
let limit = null;
let recent = [];

const latency = new HeatPlot(byId("plot-time"), { title: "Messages by time taken" });
const lines = [
  new LinePlot(byId("plot-messages"), { title: "Messages a second", format: "rate", height: 210, series: [
    { name: "Accepted", className: "accent", area: true, value: (one) => rateOf(one, SUCCESS) },
    { name: "Failed", className: "bad", value: (one) => rateOf(one, FAILED) },
  ] }),
  new LinePlot(byId("plot-connections"), { title: "Connections", format: "count", top: 4, limit: () => limit, series: [
    { name: "Active", className: "accent", area: true, value: (one) => one.connections },
  ] }),
  new LinePlot(byId("plot-memory"), { title: "Memory", format: "bytes", top: 1 << 20, binary: true, series: [
    { name: "Resident", className: "accent", area: true, value: (one) => one.memory },
  ] }),
  new LinePlot(byId("plot-cpu"), { title: "CPU, of one core", format: "points", top: 4, series: [
    { name: "Used", className: "accent", area: true, value: (one) => one.cpu },
  ] }),
];

async function ask(path, read) {
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
  } catch (error) {
    throw new Error(error.name === "TimeoutError" ? "no answer in time" : "no connection");
  }
  if (!answer.ok) throw new Error(`/${path} was answered ${answer.status}`);
  return answer[read]();
}

async function poll() {
  if (asking) return;
  asking = true;
  clearTimeout(timer);
  try {
    const [text, status] = await Promise.all([
      ask("metrics", "text"),
      ask("status.json", "json"),
    ]);
    take(text, status, Date.now() / 1000);
  } catch (error) {
    trouble = error.message;
  }
  asking = false;
  showFreshness();
  if (!document.hidden) timer = setTimeout(poll, EVERY);
}

/** One poll's answers, at a time in seconds: into the history, then onto the page. */
function take(text, status, time) {
  const metrics = new Metrics(text);
  const { bounds: found, counts: buckets } = metrics.histogram(DURATIONS);
  bounds = found;
  const delivery = metrics.histogram("smtp_delivery_duration_seconds");
  const reading = { time, metrics, started: status.started, counters: counters(metrics), buckets, delivery: delivery.counts, number: kept.last ? kept.last.number + 1 : 0 };
  kept.points.push(makePoint(reading, kept.last));
  if (kept.points.length > RING) kept.points.shift();
  kept.last = reading;
  limit = metrics.sum("smtp_max_connections");
  answered = time;
  trouble = null;
  showStatus(status);
  showNumbers(metrics);
  showTls(metrics);
  recent = status.recent || [];
  showRecent(recent);
  showWindow();
}

/** How many seconds the plots show: the time chosen, or less while the history is shorter. */
function shownSpan() {
  const age = kept.last.time - kept.points[0].time;
  return Math.min(shownSeconds, [60, 120, 300, 900].find((seconds) => seconds >= age) || shownSeconds);
}

function showFreshness() {
  const stale = byId("stale");
  document.body.classList.toggle("is-stale", trouble !== null);
  stale.hidden = trouble === null;
  if (trouble === null) return;
  const since = answered === null ? "The server has not answered yet" : `No answer since ${clock(answered)}, for ${span(Date.now() / 1000 - answered)}. What stands here is from then`;
  const message = `${since} (${trouble}). Asking again every ${EVERY / 1000} seconds.`;
  if (stale.textContent !== message) stale.textContent = message;
  document.title = `No answer: ${byId("domain").textContent.trim() || "PrixFixe"}`;
}

function showStatus(status) {
  const word = STATES[status.state] || String(status.state);
  byId("domain").textContent = status.domain;
  document.title = `${word}: ${status.domain}`;
  byId("state").dataset.state = status.state;
  // A live region speaks when it is written to.
  for (const [id, text] of [["state-word", word], ["state-reason", reason(status)]]) {
    if (byId(id).textContent !== text) byId(id).textContent = text;
  }
  showStorage(status.storage || []);
  showTargets(status.targets || []);
  byId("version").textContent = status.version;
  byId("transport").textContent = status.transport;
  const uptime = byId("uptime");
  uptime.textContent = span(status.uptime_seconds);
  uptime.title = `since ${new Date(status.started).toLocaleString("en-GB")}`;
  byId("listeners").replaceChildren(...status.listeners.map(({ address, protocol, tls, auth }) =>
    element("span", { className: "listener" }, address, ...(protocol === "lmtp" ? [element("small", {}, " LMTP")] : []), ...(tls === "none" ? [] : [element("small", {}, tls === "implicit" ? " TLS" : " STARTTLS")]),
      ...(auth === "any" ? [element("small", {}, " every password is right")] : []))));
}

/** Red below the least, or until a tenth more is free; amber while four times the least are not. */
function showStorage(all) {
  byId("storage-part").hidden = !all.length;
  byId("storage").replaceChildren(...all.map((one) => {
    const near = (free, least) => free !== null && free < 4 * least;
    const isNear = near(one.free_bytes, one.min_free_bytes) || near(one.free_inodes, one.min_free_inodes);
    const inodes = one.free_inodes === null ? "" : `, ${say("count", one.free_inodes)} inodes`;
    const free = element("b", { className: one.short ? "bad" : isNear ? "warn" : "" }, say("bytes", one.free_bytes) + inodes);
    const least = one.min_free_bytes ? `mail is refused below ${say("bytes", one.min_free_bytes)} or ${say("count", one.min_free_inodes)} inodes` : "no least is set";
    return element("li", {}, element("span", { className: "name" }, one.path), free, element("small", {}, least));
  }));
}

/** One target on this machine has nothing to say that the numbers above do not. */
function showTargets(all) {
  byId("targets-part").hidden = all.length < 2 && all.every((one) => one.up && !one.remote);
  byId("targets").tBodies[0].replaceChildren(...all.map((one) => {
    const state = element("b", { className: one.up ? "" : "bad" }, one.up ? "up" : "down");
    const cells = [one.name, state, ...["delivered", "deferred", "refused", "timeout"].map((result) => say("count", one[result])), one.error || ""];
    const heads = ["Target", "State", "Delivered", "Deferred", "Refused", "No answer", "Last error"];
    return element("tr", {}, ...cells.map((cell, index) => {
      const data = element("td", {}, cell);
      data.dataset.head = heads[index];
      return data;
    }));
  }));
}

/** The state's name stands before it already. */
function reason({ state, reason }) {
  if (state === "ready") return "Mail is accepted.";
  return String(reason || "").replace(/^(draining|mail cannot be delivered|ready, but not everywhere): /, "");
}

/** Every element that names a metric gets its value: exact in `data-value`, rounded as text. */
function showNumbers(metrics) {
  for (const target of document.querySelectorAll("[data-metric][data-format]")) {
    const all = metrics.all(target.dataset.metric);
    const value = metrics.sum(target.dataset.metric) ?? (target.dataset.metric === FAILED && kept.last ? 0 : null);
    target.dataset.value = all.length === 1 ? all[0].raw : String(value ?? "");
    setFigure(target, target.dataset.format, value);
  }
  const success = metrics.sum("smtp_success_rate") ?? 1;
  byId("success").className = success < 0.95 ? "bad" : success < 0.99 ? "warn" : "";
  const active = metrics.sum("smtp_active_connections") || 0;
  const share = limit ? Math.min(1, active / limit) : 0;
  byId("load").className = share >= 0.95 ? "bad" : share >= 0.8 ? "warn" : "";
  byId("gauge").firstElementChild.style.width = `${100 * share}%`;
  for (const [name, value] of [["now", active], ["max", limit || 0], ["text", `${active} of ${limit || 0}`]]) {
    byId("gauge").setAttribute(`aria-value${name}`, value);
  }
}

/** What depends on the time shown. */
function showWindow() {
  if (!kept.last) return;
  const to = kept.last.time, from = to - shownSpan();
  const points = kept.points.filter((one) => one.time >= from);
  const inWindow = kept.points[0].time > to - shownSeconds ? "since this page was opened" : `in the last ${span(shownSeconds)}`;
  latency.bounds = bounds;
  for (const plot of [latency, ...lines]) plot.show(points, from, to);

  const sums = addBuckets(points, "buckets");
  const any = sums.some((count) => count > 0);
  const counts = any ? sums : kept.last.buckets;
  byId("quantile-window").textContent = any ? inWindow : "since the start";
  for (const target of document.querySelectorAll("[data-quantile]")) showQuantile(target, counts, Number(target.dataset.quantile));
  showQuantile(byId("glance-p99"), counts, 0.99);
  const deliveries = addBuckets(points, "delivery");
  showQuantile(byId("delivery-p99"), deliveries.some((count) => count > 0) ? deliveries : kept.last.delivery, 0.99);

  byId("errors-window").textContent = inWindow;
  const { metrics } = kept.last;
  showBars("errors-messages", metrics.all(FAILED), ({ labels }) => words(labels.reason), points);
  showBars("errors-commands", metrics.all("smtp_command_errors_total"), ({ labels }) => [labels.code, CODES[labels.code]].filter(Boolean).join(" "), points);
  const others = metrics.all(CONNECTIONS).filter(({ labels }) => labels.result !== "accepted");
  const handshakes = metrics.all(HANDSHAKES).filter(({ labels }) => labels.result !== "ok");
  // The other phases are told among the connections and the handshakes.
  const slow = metrics.all("smtp_timeouts_by_phase_total").filter(({ labels }) => ["command", "message"].includes(labels.phase));
  showBars("errors-connections", [...others, ...handshakes, ...slow], connectionError, points);
}

function showQuantile(target, counts, q) {
  const value = quantile(bounds, counts, q);
  target.dataset.value = value ?? "";
  if (value !== Infinity) return setFigure(target, "duration", value);
  setFigure(target, "duration", bounds.at(-2) ?? 0);
  target.prepend("> ");
}

function words(label) {
  return String(label).replaceAll("_", " ");
}

function connectionError({ name, labels }) {
  if (name === CONNECTIONS) return `connection ${words(labels.result)}`;
  return name === HANDSHAKES ? `TLS handshake ${words(labels.result)}` : `too slow with a ${labels.phase}`;
}

function showBars(id, all, name, points) {
  const rows = all.filter(({ value }) => value > 0).sort((a, b) => b.value - a.value);
  if (!rows.length) return byId(id).replaceChildren(element("tbody", {}, element("tr", {}, element("td", { className: "none" }, "None"))));
  const most = rows[0].value;
  byId(id).replaceChildren(element("tbody", {}, ...rows.map((one) => {
    const gained = points.reduce((sum, point) => sum + (point.gained.get(one.key) || 0), 0);
    const count = element("td", { className: "count" }, FORMATS.count(one.value)[0]);
    Object.assign(count.dataset, { metric: one.key, value: one.raw });
    const bar = element("span", { className: "bar" });
    bar.style.width = `${Math.max(0.5, (100 * one.value) / most)}%`;
    return element("tr", {}, element("th", { scope: "row" }, name(one), bar), element("td", { className: "recently" }, gained ? `+${FORMATS.count(gained)[0]}` : ""), count);
  })));
}

/** Of the connections that were accepted; one whose handshake failed after STARTTLS had no TLS. */
function showTls(metrics) {
  const accepted = metrics.sum(CONNECTIONS, ({ result }) => result === "accepted") || 0;
  const parts = metrics.all(HANDSHAKES).filter(({ labels, value }) => labels.result === "ok" && value > 0)
    .sort((a, b) => (a.labels.version < b.labels.version ? 1 : -1))
    .map(({ labels, value }, i) => ({ name: `TLS ${labels.version.replace(/^TLSv?/i, "")}`, count: value, className: `tls-${i % 3}` }));
  const secure = parts.reduce((sum, { count }) => sum + count, 0);
  const all = Math.max(accepted, secure);
  if (all > secure) parts.push({ name: "In clear", count: all - secure, className: "tls-clear" });
  setFigure(byId("tls-share"), "percent", all ? secure / all : null);
  byId("tls-share").dataset.value = all ? String(secure / all) : "";
  byId("tls-bar").replaceChildren(...parts.map(({ count, className }) => {
    const part = element("span", { className });
    part.style.flexGrow = count / all;
    return part;
  }));
  byId("tls-bar").setAttribute("aria-label", parts.map(({ name, count }) => `${name}: ${say("count", count)}`).join(", ") || "No connections yet");
  byId("tls-key").replaceChildren(...parts.map(({ name, count, className }) =>
    element("li", {}, element("i", { className }), `${name} `, element("b", {}, say("count", count)))));
  showCertificates(metrics.all("smtp_tls_certificate_expiry_timestamp_seconds"));
}

function showCertificates(all) {
  const rows = all.slice().sort((a, b) => a.value - b.value).map((one) => {
    const days = (one.value - Date.now() / 1000) / 86400;
    const text = days <= 0 ? "expired" : days < 2 ? `${Math.floor(days * 24)} h` : `${Math.floor(days)} days`;
    const left = element("b", { className: days < 7 ? "bad" : days < 21 ? "warn" : "" }, text);
    Object.assign(left.dataset, { metric: one.key, value: one.raw });
    const until = new Date(one.value * 1000).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
    return element("li", {}, element("span", { className: "name" }, one.labels.name ?? ""), left, element("small", {}, `until ${until}`));
  });
  byId("certificates").replaceChildren(...(rows.length ? rows : [element("li", { className: "none" }, "None: TLS is not set up.")]));
}

function showRecent(all) {
  byId("recent").hidden = !all.length;
  byId("recent-empty").hidden = all.length > 0;
  const more = byId("recent-more");
  more.hidden = all.length <= FEW;
  more.textContent = more.ariaExpanded === "true" ? `Show the latest ${FEW}` : `Show all ${all.length}`;
  const shown = more.ariaExpanded === "true" ? all : all.slice(0, FEW);
  byId("recent").tBodies[0].replaceChildren(...shown.map((one) => {
    const when = new Date(one.time);
    const today = when.toDateString() === new Date().toDateString();
    const date = today ? "" : `${when.toLocaleDateString("en-GB", { day: "numeric", month: "short" })} `;
    const time = element("time", { dateTime: when.toISOString() }, date + clock(when / 1000));
    const cells = [
      ["Time", time],
      ["What", words(one.kind) + (one.count > 1 ? ` (${FORMATS.count(one.count)[0]} times)` : "")],
      ["Reply", [one.code, one.text].filter(Boolean).join(" ")],
      ["Client", one.client ?? ""],
      ["Envelope", envelope(one)],
    ];
    return element("tr", {}, ...cells.map(([label, content]) => {
      const cell = element("td", {}, content);
      cell.dataset.label = label;
      if (content === "") cell.className = "blank";
      return cell;
    }));
  }));
}

function envelope({ sender, recipient }) {
  const from = sender === "" ? "<>" : (sender ?? "");
  return [from, recipient ?? ""].filter(Boolean).join(" \u2192 ");
}

for (const choice of document.getElementsByName("window")) {
  if (choice.checked) shownSeconds = Number(choice.value);
  choice.addEventListener("change", () => {
    shownSeconds = Number(choice.value);
    showWindow();
  });
}
byId("recent-more").addEventListener("click", ({ currentTarget }) => {
  currentTarget.ariaExpanded = String(currentTarget.ariaExpanded !== "true");
  showRecent(recent);
});
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : poll()));
setInterval(() => trouble !== null && showFreshness(), 1000);
poll();
