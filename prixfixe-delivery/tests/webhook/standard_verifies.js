// The reference implementation for Node verifies requests. The standard input is a JSON list of secret, headers, body, valid.
const { Webhook, WebhookVerificationError } = require("standardwebhooks");

let input = "";
process.stdin.on("data", (piece) => (input += piece));
process.stdin.on("end", () => {
  for (const { secret, headers, body, valid } of JSON.parse(input)) {
    let verified = true;
    try {
      new Webhook(secret).verify(Buffer.from(body, "base64").toString(), headers, { jsonParse: false });
    } catch (error) {
      if (!(error instanceof WebhookVerificationError)) throw error;
      verified = false;
    }
    if (verified !== valid) throw new Error(`${secret}: ${verified}`);
  }
});
