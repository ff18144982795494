"""Verifies requests with the reference implementation. The standard input is a JSON list of secret, headers, body, valid."""

import base64
import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

for case in json.load(sys.stdin):
    try:
        body = base64.b64decode(case["body"])
        Webhook(case["secret"]).verify(body, case["headers"], json_parse=False)
        valid = True
    except WebhookVerificationError as error:
        print(error)
        valid = False
    assert valid == case["valid"], case
