// The page: asks, keeps the history, and puts the numbers where they belong. Text from the server is only ever set as text.

const PATIENCE = 5000;
const FEW_ERRORS = 6, FEW_MAIL = 10; // rows until more are asked for
const MOST_MAIL = 1000, SHOWN_MAIL = 200; // accepted messages kept for the search, rows shown
const SUCCESS = "smtp_messages_success_total", FAILED = "smtp_messages_failed_total", REFUSED = "smtp_command_errors_total";
const CONNECTIONS = "smtp_connections_total", HANDSHAKES = "smtp_tls_handshakes_total";
const STATES = { ready: "Ready", draining: "Draining", failing: "Cannot deliver", degraded: "Degraded" };

const byId = (id) => document.getElementById(id);
/** What the server said: points of the plots, the number of the latest sample, its start, the latest answers, and mail by id. */
const kept = { points: [], number: 0, started: null, metrics: null, status: null, accepted: new Map() };
let bounds = [];
let shownSeconds = 300;
let answered = null; // when the server answered last
let trouble = null; // why it did not
let timer = null, asking = false;
let limit = null, leastFree = null;

const latency = new HeatPlot(byId("plot-time"), { title: "Messages by time taken" });
const lines = [
  new LinePlot(byId("plot-messages"), { title: "Messages/s", format: "rate", height: 190, series: [
    { name: "Accepted", className: "accent", area: true, value: (one) => rateOf(one, SUCCESS) },
    { name: "Failed", className: "bad", value: (one) => rateOf(one, FAILED) },
  ] }),
  new LinePlot(byId("plot-connections"), { title: "Connections", format: "count", top: 4, limit: () => limit, series: [
    { name: "Active", className: "accent", area: true, value: (one) => gaugeOf(one, "smtp_active_connections") },
  ] }),
  new LinePlot(byId("plot-free"), { title: "Free space", format: "bytes", top: 1 << 20, binary: true, limit: () => leastFree, series: [
    { name: "Least", className: "accent", area: true, value: leastFreeOf },
  ] }),
  new LinePlot(byId("plot-memory"), { title: "Memory", format: "bytes", top: 1 << 20, binary: true, series: [
    { name: "Resident", className: "accent", area: true, value: (one) => gaugeOf(one, "smtp_memory_bytes") },
  ] }),
  new LinePlot(byId("plot-cpu"), { title: "CPU (1 core = 100 %)", format: "points", top: 4, series: [
    { name: "", className: "accent", area: true, value: (one) => gaugeOf(one, "cpu_tenths_of_percent") / 10 },
  ] }),
];

/** Of several file systems the one with the least free space. */
function leastFreeOf(point) {
  const all = (kept.status?.storage ?? []).map((_, i) => gaugeOf(point, `free_bytes{storage="${i}"}`));
  return all.length ? Math.min(...all) : null;
}

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
  let isBehind = false;
  try {
    const [text, status] = await Promise.all([
      ask("metrics", "text"),
      ask(`status.json?after=${kept.number}`, "json"),
    ]);
    isBehind = take(text, status);
  } catch (error) {
    trouble = error.message;
  }
  asking = false;
  showFreshness();
  if (!document.hidden) timer = setTimeout(poll, isBehind ? 0 : EVERY);
}

/** One poll's answers: into the history, then onto the page. True: another server answers, whose history is to be asked for. */
function take(text, status) {
  const isAnother = kept.started !== null && kept.started !== status.started;
  const hadNumber = kept.number;
  Object.assign(kept, { metrics: new Metrics(text), status, started: status.started });
  bounds = status.processing.map(([bound]) => parseNumber(bound));
  if (isAnother) kept.number = 0;
  if (!isAnother || hadNumber === 0) takeHistory(status.history);
  takeAccepted(status.accepted);
  limit = kept.metrics.sum("smtp_max_connections");
  leastFree = Math.max(0, ...status.storage.map((one) => one.min_free_bytes)) || null;
  answered = Date.now() / 1000;
  trouble = null;
  showStatus(status);
  showNumbers(kept.metrics);
  showTls(kept.metrics);
  showClients(status.clients);
  showQueue(kept.metrics);
  showMail();
  showWindow();
  return isAnother && hadNumber > 0;
}

/** What the server has kept since the last sample that is known. The first one of another server marks its start. */
function takeHistory(history) {
  const series = history.series.map((name) => seriesOf(name, bounds));
  for (const sample of history.samples) {
    const before = kept.points.at(-1);
    const restarted = before !== undefined && kept.number === 0;
    kept.points.push(makePoint(series, sample, bounds, before, restarted));
    kept.number = sample[0];
  }
  kept.points.splice(0, Math.max(0, kept.points.length - RING));
}

/** Accepted mail is found by the search as long as the page is open, or until there is too much of it. */
function takeAccepted(accepted) {
  for (const one of accepted.toReversed()) if (!kept.accepted.has(one.id)) kept.accepted.set(one.id, one);
  for (const id of kept.accepted.keys()) {
    if (kept.accepted.size <= MOST_MAIL) break;
    kept.accepted.delete(id);
  }
}

/** How many seconds the plots show: the time chosen, or less while the history is shorter. */
function shownSpan() {
  const age = kept.points.at(-1).time - kept.points[0].time;
  return Math.min(shownSeconds, [60, 120, 300, 900].find((seconds) => seconds >= age) || shownSeconds);
}

function showFreshness() {
  const stale = byId("stale");
  document.body.classList.toggle("is-stale", trouble !== null);
  stale.hidden = trouble === null;
  if (trouble === null) return;
  const since = answered === null ? "The server has not answered yet" : `No answer since ${clock(answered)}, for ${span(Date.now() / 1000 - answered)}. All that is shown is from then`;
  const message = `${since} (${trouble}). Asking again every ${EVERY / 1000} seconds.`;
  if (stale.textContent !== message) stale.textContent = message;
  document.title = `No answer: ${byId("domain").textContent.trim() || "PrixFixe"}`;
}

/** Every element that names a metric gets its value: exact in `data-value`, rounded as text. */
function showNumbers(metrics) {
  for (const target of document.querySelectorAll("[data-metric][data-format]")) {
    const all = metrics.all(target.dataset.metric);
    const value = metrics.sum(target.dataset.metric) ?? (target.dataset.metric === FAILED ? 0 : null);
    target.dataset.value = all.length === 1 ? all[0].raw : String(value ?? "");
    setFigure(target, target.dataset.format, value);
  }
  const success = metrics.sum("smtp_success_rate") ?? 1;
  // Without mail there is no share of it.
  const lately = kept.status.last_minute;
  if (!lately.accepted && !lately.failed.length) setFigure(document.querySelector("#success dd"), "percent", null);
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
  if (!kept.points.length) return;
  const to = kept.points.at(-1).time, from = to - shownSpan();
  const points = kept.points.filter((one) => one.time >= from);
  const age = to - kept.points[0].time;
  const inWindow = `in the last ${span(age < shownSeconds ? Math.max(age, EVERY / 1000) : shownSeconds)}`;
  latency.bounds = bounds;
  for (const plot of [latency, ...lines]) plot.show(points, from, to);

  const counts = (which) => {
    const sums = addBuckets(points, which);
    return sums.some((count) => count > 0) ? sums : kept.status[which].map(([, count]) => count);
  };
  byId("quantile-window").textContent = addBuckets(points, "processing").some((count) => count > 0) ? inWindow : "since the start";
  const processing = counts("processing");
  for (const target of document.querySelectorAll("[data-quantile]")) showQuantile(target, processing, Number(target.dataset.quantile));
  showQuantile(byId("glance-p99"), processing, 0.99);
  showQuantile(byId("delivery-p99"), counts("delivery"), 0.99);
  byId("errors-window").textContent = inWindow;
  showErrors(points);
}

function showQuantile(target, counts, q) {
  const value = quantile(bounds, counts, q);
  target.dataset.value = value ?? "";
  const [before, meant] = boundOf(bounds, value);
  setFigure(target, "duration", meant);
  if (before) target.prepend(before);
}

/** All that failed, on one scale: what came in the time shown first. */
function showErrors(points) {
  const { metrics } = kept;
  const others = metrics.all(CONNECTIONS).filter(({ labels }) => !["accepted", "health_check"].includes(labels.result));
  const handshakes = metrics.all(HANDSHAKES).filter(({ labels }) => labels.result !== "ok");
  // The other phases are told among the connections and the handshakes.
  const slow = metrics.all("smtp_timeouts_by_phase_total").filter(({ labels }) => ["command", "message"].includes(labels.phase));
  const rows = [...metrics.all(FAILED), ...metrics.all(REFUSED), ...others, ...handshakes, ...slow].filter(({ value }) => value > 0)
    .map((one) => ({ one, gained: points.reduce((sum, point) => sum + (point.gained.get(one.key) || 0), 0) }))
    .sort((a, b) => (b.one.name === FAILED && b.gained > 0) - (a.one.name === FAILED && a.gained > 0) || b.gained - a.gained || b.one.value - a.one.value);
  const more = byId("errors-more");
  more.hidden = rows.length <= FEW_ERRORS;
  const showsAll = more.ariaExpanded === "true";
  more.textContent = showsAll ? `Show ${FEW_ERRORS}` : `Show all ${rows.length}`;
  if (!rows.length) return byId("errors").replaceChildren(element("tbody", {}, element("tr", {}, element("td", { className: "none" }, "Nothing has failed."))));
  const most = Math.max(...rows.map(({ one }) => one.value));
  byId("errors").replaceChildren(element("tbody", {}, ...rows.map(({ one, gained }, i) => {
    const [name, className] = failure(one);
    const count = element("td", { className: "count" }, FORMATS.count(one.value)[0]);
    Object.assign(count.dataset, { metric: one.key, value: one.raw });
    const bar = element("span", { className: `bar ${className}` });
    bar.style.width = `${Math.max(0.5, (100 * one.value) / most)}%`;
    const lately = element("td", { className: `recently ${className}` }, gained ? `+${FORMATS.count(gained)[0]}` : "");
    return element("tr", { hidden: !showsAll && i >= FEW_ERRORS }, element("th", { scope: "row" }, name, bar), lately, count);
  })));
}

/** A button that shows more and less again. */
function unfolds(id, show) {
  byId(id).addEventListener("click", ({ currentTarget }) => {
    currentTarget.ariaExpanded = String(currentTarget.ariaExpanded !== "true");
    show();
  });
}

// On a telephone what is looked at first is open, and the rest is a tap away.
if (matchMedia("(max-width: 640px)").matches) {
  for (const part of document.querySelectorAll("[data-narrow=closed]")) part.open = false;
}
for (const choice of document.getElementsByName("window")) {
  if (choice.checked) shownSeconds = Number(choice.value);
  choice.addEventListener("change", () => {
    shownSeconds = Number(choice.value);
    showWindow();
  });
}
unfolds("recent-more", showMail);
unfolds("errors-more", showWindow);
byId("filter").addEventListener("submit", (event) => event.preventDefault());
byId("search").addEventListener("input", showMail);
byId("which").addEventListener("change", showMail);
byId("pause").addEventListener("click", ({ currentTarget }) => {
  const isPaused = currentTarget.ariaPressed !== "true";
  currentTarget.ariaPressed = String(isPaused);
  currentTarget.textContent = isPaused ? "Go on" : "Pause";
  showMail();
});
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : poll()));
setInterval(() => trouble !== null && showFreshness(), 1000);
poll();
