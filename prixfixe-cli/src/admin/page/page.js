// The page: asks, keeps the history, and puts the numbers where they belong. Text from the server is only ever set as text.

const PATIENCE = 5000;
const FEW_ERRORS = 6, FEW_MAIL = 10; // rows until more are asked for
const MOST_MAIL = 1000, SHOWN_MAIL = 200; // accepted messages kept for the search, rows shown
const SUCCESS = "smtp_messages_success_total", FAILED = "smtp_messages_failed_total", REFUSED = "smtp_command_errors_total";
const CONNECTIONS = "smtp_connections_total", HANDSHAKES = "smtp_tls_handshakes_total";
const STATES = { ready: "Ready", draining: "Draining", failing: "Cannot deliver", degraded: "Degraded" };

/** Why messages fail, as a person says it. */
const REASONS = {
  refused: "refused by a rule or a target", deferred: "deferred by a rule or a target", storage: "could not be stored",
  handler_timeout: "not delivered in time", handler_panic: "internal error", too_large: "too large", bare_line_end: "bare line ends",
  loop: "mail loop", timeout: "client too slow", connection_lost: "connection lost", given_up: "abandoned by the client", shutdown: "server stopped",
};

/** What the codes of refused commands mostly stand for; the reply itself is in the list of the latest mail. */
const CODES = {
  421: "session ended", 450: "try later", 451: "local fault", 452: "too many recipients or no space", 500: "unknown or malformed", 501: "bad argument",
  502: "not implemented", 503: "out of order", 530: "TLS or login required", 535: "wrong password", 550: "refused", 552: "too large",
  553: "address not allowed", 554: "refused", 555: "bad parameter",
};

const KINDS = {
  connection_refused: "Connection refused", sender_refused: "Sender refused", recipient_refused: "Recipient refused", command_refused: "Command refused",
  login_failed: "Login failed", message_failed: "Message failed", tls_failed: "TLS failed", timeout: "Client too slow",
};

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

function showStatus(status) {
  const word = STATES[status.state] || String(status.state);
  byId("domain").textContent = status.domain;
  document.title = `${word}: ${status.domain}`;
  byId("state").dataset.state = status.state;
  // A live region speaks when it is written to.
  for (const [id, text] of [["state-word", word], ["state-reason", reason(status)]]) {
    if (byId(id).textContent !== text) byId(id).textContent = text;
  }
  byId("warning").hidden = !status.warning;
  byId("warning").textContent = status.warning ?? "";
  showStorage(status.storage || []);
  showTargets(status.targets || []);
  showQueues(status.spool?.targets || []);
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
  byId("storage-part").hidden = byId("glance-free").hidden = byId("plot-free").hidden = !all.length;
  const tightness = (one) => {
    const near = (free, least) => free !== null && free < 4 * least;
    return one.short ? "bad" : near(one.free_bytes, one.min_free_bytes) || near(one.free_inodes, one.min_free_inodes) ? "warn" : "";
  };
  byId("storage").replaceChildren(...all.map((one) => {
    const inodes = one.free_inodes === null ? "" : `, ${say("count", one.free_inodes)} inodes`;
    const free = element("b", { className: tightness(one) }, say("bytes", one.free_bytes) + inodes);
    const least = one.min_free_bytes ? `mail is refused below ${say("bytes", one.min_free_bytes)} or ${say("count", one.min_free_inodes)} inodes` : "no least is set";
    return element("li", {}, element("span", { className: "name" }, one.path), free, element("small", {}, least));
  }));
  if (!all.length) return;
  const least = all.reduce((least, one) => (one.free_bytes < least.free_bytes ? one : least));
  const worst = ["bad", "warn"].find((each) => all.some((one) => tightness(one) === each)) ?? "";
  byId("glance-free").className = worst;
  setFigure(byId("glance-free-figure"), "bytes", least.free_bytes);
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
      data.dataset.label = heads[index];
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
    const value = metrics.sum(target.dataset.metric) ?? (target.dataset.metric === FAILED ? 0 : null);
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

function words(label) {
  return String(label).replaceAll("_", " ");
}

/** What a series of failures is called, and whether it says that mail was lost to a sender who meant it. */
function failure({ name, labels }) {
  if (name === FAILED) return [`Message failed: ${REASONS[labels.reason] ?? words(labels.reason)}`, "bad"];
  if (name === REFUSED) return [`Command refused: ${[labels.code, CODES[labels.code]].filter(Boolean).join(" ")}`, "usual"];
  if (name === CONNECTIONS) return [`Connection ${words(labels.result)}`, "usual"];
  return [name === HANDSHAKES ? `TLS handshake ${words(labels.result)}` : `Too slow with a ${labels.phase}`, "usual"];
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

/** Of the connections that were accepted; one whose handshake failed after STARTTLS had no TLS. */
function showTls(metrics) {
  const accepted = metrics.sum(CONNECTIONS, ({ result }) => result === "accepted") || 0;
  const parts = metrics.all(HANDSHAKES).filter(({ labels, value }) => labels.result === "ok" && value > 0)
    .sort((a, b) => (a.labels.version < b.labels.version ? 1 : -1))
    .map(({ labels, value }, i) => ({ name: `TLS ${labels.version.replace(/^TLSv?/i, "")}`, count: value, className: `tls-${i % 3}` }));
  const secure = parts.reduce((sum, { count }) => sum + count, 0);
  const all = Math.max(accepted, secure);
  if (all > secure) parts.push({ name: "Plaintext", count: all - secure, className: "tls-clear" });
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

function showClients(all) {
  byId("clients").hidden = !all.length;
  byId("clients-empty").hidden = all.length > 0;
  const most = Math.max(1, ...all.map((one) => one.accepted + one.refused));
  byId("clients").tBodies[0].replaceChildren(...all.map((one) => {
    const bar = element("span", { className: "bar accent" });
    bar.style.width = `${Math.max(0.5, (100 * (one.accepted + one.refused)) / most)}%`;
    const search = element("button", { type: "button", className: "plain", title: "Show its mail" }, one.client);
    search.addEventListener("click", () => searchFor(one.client));
    return element("tr", {}, element("th", { scope: "row" }, search, bar),
      ...[say("count", one.accepted), say("bytes", one.bytes), say("count", one.refused)].map((text) => element("td", {}, text)));
  }));
}

/** Shown where the server has a spool. */
function showQueue(metrics) {
  const states = metrics.all("smtp_spool_messages");
  byId("queue-part").hidden = !states.length;
  const figure = (name, text, className = "") => element("div", { className }, element("dt", {}, name), element("dd", {}, text));
  const age = metrics.sum("smtp_spool_oldest_age_seconds");
  byId("queue").replaceChildren(
    ...states.map(({ labels, value }) => figure(words(labels.state), say("count", value), labels.state === "failed" && value ? "bad" : "")),
    figure("bytes", say("bytes", metrics.sum("smtp_spool_bytes") ?? 0)),
    figure("oldest", age === null ? "–" : span(age)));
}

/** What waits for each target. */
function showQueues(all) {
  byId("queues").hidden = !all.length;
  const heads = ["Target", "Ready", "Waiting", "Held", "Given up", "Oldest", "Next attempt", "Last error"];
  byId("queues").tBodies[0].replaceChildren(...all.map((one) => {
    const counts = ["ready", "waiting", "held", "given_up"].map((state) => say("count", one[state]));
    const oldest = one.oldest_seconds === null ? "–" : span(one.oldest_seconds);
    const next = one.next_seconds === null ? "–" : one.next_seconds ? `in ${span(one.next_seconds)}` : "now";
    const cells = [one.name + (one.known ? "" : " (unknown target)"), ...counts, oldest, next, one.error || ""];
    return element("tr", {}, ...cells.map((cell, index) => {
      const data = element("td", {}, cell);
      data.dataset.label = heads[index];
      return data;
    }));
  }));
}

/** Accepted mail and refusals in one list, the latest first. */
function showMail() {
  if (!kept.status || byId("pause").ariaPressed === "true") return;
  const which = byId("which").value, wanted = byId("search").value.trim().toLowerCase();
  const all = [
    ...(which === "refused" ? [] : [...kept.accepted.values()].toReversed().map(acceptedRow)),
    ...(which === "accepted" ? [] : kept.status.recent.map(refusedRow)),
  ];
  const found = all.filter(({ searched }) => !wanted || searched.includes(wanted))
    .sort((a, b) => (a.time < b.time ? 1 : a.time > b.time ? -1 : 0)).slice(0, SHOWN_MAIL);
  byId("recent").hidden = !found.length;
  const empty = byId("recent-empty");
  empty.hidden = found.length > 0;
  const searched = `Nothing of the latest ${say("count", all.length)} fits. The log has all mail.`;
  empty.textContent = all.length ? searched : which === "refused" ? "Nothing was refused and nothing failed." : "No mail has come yet.";
  const more = byId("recent-more");
  more.hidden = found.length <= FEW_MAIL;
  more.textContent = more.ariaExpanded === "true" ? `Show the latest ${FEW_MAIL}` : `Show all ${found.length}`;
  const shown = more.ariaExpanded === "true" ? found : found.slice(0, FEW_MAIL);
  byId("recent").tBodies[0].replaceChildren(...shown.map(mailRow));
}

function acceptedRow(one) {
  const others = one.recipients > 1 ? ` and ${one.recipients - 1} more` : "";
  const details = `${say("bytes", one.bytes)} \u00b7 ${say("duration", one.seconds)}`;
  return row(one, "Accepted", "ok", envelope(one) + others, details, one.id);
}

function refusedRow(one) {
  const times = one.count > 1 ? ` (${FORMATS.count(one.count)[0]} times)` : "";
  const details = [one.code, one.text].filter(Boolean).join(" ");
  return row(one, (KINDS[one.kind] ?? words(one.kind)) + times, one.kind === "message_failed" ? "bad" : "usual", envelope(one), details, one.id);
}

function row({ time, client }, result, className, addresses, details, id) {
  const searched = [result, addresses, client, details, id].join(" ").toLowerCase();
  return { time, client, result, className, addresses, details, id: id ?? "", searched };
}

function mailRow({ time, client, result, className, addresses, details, id }) {
  const when = new Date(time);
  const today = when.toDateString() === new Date().toDateString();
  const date = today ? "" : `${when.toLocaleDateString("en-GB", { day: "numeric", month: "short" })} `;
  const cells = [
    ["time", element("time", { dateTime: when.toISOString() }, date + clock(when / 1000))],
    [`result ${className}`, result], ["addresses", addresses], ["client", client ?? ""], ["details", details], ["id", id],
  ];
  return element("tr", {}, ...cells.map(([name, content]) => element("td", { className: name }, content)));
}

function envelope({ sender, recipient }) {
  const from = sender === "" ? "<>" : (sender ?? "");
  return [from, recipient ?? ""].filter(Boolean).join(" \u2192 ");
}

function searchFor(text) {
  byId("search").value = text;
  showMail();
  byId("h-recent").scrollIntoView({ block: "nearest" });
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
