"""What Python's email package and flufl.bounce make of a report, as JSON."""
import email
import email.policy
import json
import sys

from flufl.bounce import scan_message

content = sys.stdin.buffer.read()
message = email.message_from_bytes(content, policy=email.policy.default)
parts = list(message.iter_parts())
defects = [str(defect) for part in message.walk() for defect in part.defects]
groups = [dict(group.items()) for group in parts[1].get_payload()]
if parts[2].get_content_type() == "message/rfc822":
    returned = parts[2].get_payload(0)
else:
    returned = email.message_from_string(parts[2].get_content())
print(json.dumps({
    "kinds": [part.get_content_type() for part in parts],
    "groups": groups,
    "subject": returned["Subject"],
    "bounced": sorted(it.decode() for it in scan_message(email.message_from_bytes(content))),
    "defects": defects,
}))
