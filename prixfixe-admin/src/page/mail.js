// The list of the latest mail: accepted and refused together, searched and folded.

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
