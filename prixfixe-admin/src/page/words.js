// What the names and codes of the server mean to a person.

/** Why messages fail, as a person says it. */
const REASONS = {
  refused: "refused by a rule or a target", deferred: "deferred by a rule or a target", storage: "could not be stored",
  handler_timeout: "not delivered in time", handler_panic: "internal error", too_large: "too large", bare_line_end: "bare line ends",
  loop: "mail loop", timeout: "client too slow", connection_lost: "connection lost", given_up: "abandoned by the client", shutdown: "server stopped",
};

/** What the codes of refused commands mostly stand for; the reply itself is in the list of the latest mail. */
const CODES = {
  421: "session ended", 450: "try later", 451: "local fault, or a target is down", 452: "too many recipients or no space", 500: "unknown or malformed", 501: "bad argument",
  502: "not implemented", 503: "out of order", 530: "TLS or login required", 535: "wrong password", 550: "refused", 552: "too large",
  553: "address not allowed", 554: "refused", 555: "bad parameter",
};

const KINDS = {
  connection_refused: "Connection refused", sender_refused: "Sender refused", recipient_refused: "Recipient refused", command_refused: "Command refused",
  login_failed: "Login failed", message_failed: "Message failed", tls_failed: "TLS failed", timeout: "Client too slow",
};

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
