// The parts that say how the server is: its state, free space, targets, queue, TLS and clients.

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

/** The state's name stands before it already. */
function reason({ state, reason }) {
  if (state === "ready") return "Mail is accepted.";
  return sized(reason).replace(/^(draining|mail cannot be delivered|ready, but not everywhere): /, "");
}

/** A cause whose sizes are as people read them. */
function sized(cause) {
  return String(cause || "").replace(/(\d+) bytes are free, (\d+) are needed/, (_, ...sizes) => {
    const [free, needed] = sizes.map((size) => say("bytes", Number(size)));
    return `${free} are free, ${needed} are needed`;
  });
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
    const cells = [one.name, state, ...["delivered", "deferred", "refused", "timeout"].map((result) => say("count", one[result])), sized(one.error)];
    const heads = ["Target", "State", "Delivered", "Deferred", "Refused", "No answer", "Last error"];
    return element("tr", {}, ...cells.map((cell, index) => {
      const data = element("td", {}, cell);
      data.dataset.label = heads[index];
      return data;
    }));
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
    const cells = [one.name + (one.known ? "" : " (unknown target)"), ...counts, oldest, next, sized(one.error)];
    return element("tr", {}, ...cells.map((cell, index) => {
      const data = element("td", {}, cell);
      data.dataset.label = heads[index];
      return data;
    }));
  }));
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
