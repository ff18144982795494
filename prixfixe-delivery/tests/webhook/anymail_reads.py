"""Prints what django-anymail makes of requests, as JSON. The standard input is a JSON list of service, secret, headers and body."""

import base64
import json
import sys
import warnings

import django
from django.conf import settings

warnings.simplefilter("ignore")
cases = json.load(sys.stdin)
settings.configure(
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="x",
    ANYMAIL={"MAILGUN_WEBHOOK_SIGNING_KEY": cases[0]["secret"], "MAILGUN_API_KEY": "x"},
)
django.setup()

from anymail.signals import inbound  # noqa: E402
from anymail.webhooks.mailgun import MailgunInboundWebhookView  # noqa: E402
from anymail.webhooks.postmark import PostmarkInboundWebhookView  # noqa: E402
from anymail.webhooks.sendgrid import SendGridInboundWebhookView  # noqa: E402
from django.test import RequestFactory  # noqa: E402

VIEWS = {
    "postmark": PostmarkInboundWebhookView,
    "mailgun": MailgunInboundWebhookView,
    "sendgrid": SendGridInboundWebhookView,
}
found = []


def keep(sender, event, **kwargs):
    message = event.message
    # Attachments and what stands in the text are told apart by anymail.
    parts = message.attachments + list(message.content_id_map.values())
    found.append({
        "subject": message.subject,
        "from": str(message.from_email),
        "to": [str(address) for address in message.to],
        "text": message.text,
        "html": message.html,
        "sender": message.envelope_sender,
        "recipient": message.envelope_recipient,
        "message_id": message["Message-ID"],
        "attachments": [
            {
                "filename": part.get_filename(),
                "content_type": part.get_content_type(),
                "content": base64.b64encode(part.get_payload(decode=True)).decode(),
            }
            for part in parts
        ],
    })


inbound.connect(keep)
for case in cases:
    body = base64.b64decode(case["body"])
    request = RequestFactory().generic("POST", "/", body, content_type=case["content_type"])
    response = VIEWS[case["service"]].as_view()(request)
    assert response.status_code == 200, response
print(json.dumps(found))
