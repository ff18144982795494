"""A milter that does what the sender and the subject say, on the libmilter of Sendmail."""

import sys
import Milter


class Filter(Milter.Base):
    def __init__(self):
        self.told = []

    def note(self, stage, *macros):
        values = [stage] + ["%s=%s" % (name, self.getsymval(name)) for name in macros]
        self.told.append(" ".join(values))

    def connect(self, host, family, address):
        self.note("connect %s %s" % (host, address[0]), "j", "_", "{client_addr}", "{daemon_name}")
        return Milter.CONTINUE

    def hello(self, name):
        self.note("helo %s" % name)
        if name == "refused.test":
            self.setreply("550", "5.7.8", "Not", "you")
            return Milter.REJECT
        return Milter.CONTINUE

    def envfrom(self, sender, *parameters):
        self.subject, self.bytes = "", 0
        self.note("mail %s %s" % (sender, " ".join(parameters)), "{mail_addr}", "{mail_host}")
        kind = sender.strip("<>").split("@")[0]
        if kind == "worded":
            self.setreply("451", "4.7.9", "100%% later")
            return Milter.TEMPFAIL
        answers = {"rejected": Milter.REJECT, "later": Milter.TEMPFAIL, "accepted": Milter.ACCEPT, "discarded": Milter.DISCARD}
        return answers.get(kind, Milter.CONTINUE)

    def envrcpt(self, recipient, *parameters):
        self.note("rcpt %s" % recipient, "{rcpt_addr}")
        if recipient == "<rejected@receiver.test>":
            return Milter.REJECT
        return Milter.CONTINUE

    def data(self):
        self.told.append("data")
        return Milter.TEMPFAIL if "<data@receiver.test>" in self.told[-2] else Milter.CONTINUE

    @Milter.noreply
    def header(self, name, value):
        if name == "Subject":
            self.subject = value
        self.told.append("header %s=%r" % (name, value))
        return Milter.CONTINUE

    def eoh(self):
        self.note("eoh")
        return Milter.REJECT if self.subject == "reject at eoh" else Milter.CONTINUE

    def body(self, piece):
        self.bytes += len(piece)
        if self.subject == "skip":
            return Milter.SKIP
        return Milter.REJECT if b"virus" in piece else Milter.CONTINUE

    def unknown(self, line):
        self.setreply("502", "5.5.9", "No %s" % line.split()[0])
        return Milter.REJECT

    def eom(self):
        self.told.append("body %d" % self.bytes)
        act = getattr(self, "do_" + self.subject.replace(" ", "_"), None)
        return act() if act else Milter.CONTINUE

    def do_told(self):
        for line in self.told:
            self.addheader("X-Told", line)
        return Milter.CONTINUE

    def do_id(self):
        self.addheader("X-Id", self.getsymval("i"))
        return Milter.ACCEPT

    def do_headers(self):
        self.addheader("X-Last", "1")
        self.addheader("X-First", "2", 0)
        self.addheader("X-Second", "3", 2)
        self.chgheader("X-Old", 2, "new\n\tfolded")
        self.chgheader("X-Gone", 1, "")
        self.chgheader("X-None", 1, "made")
        return Milter.CONTINUE

    def do_skip(self):
        self.addheader("X-Bytes", str(self.bytes))
        return Milter.CONTINUE

    def do_body(self):
        self.replacebody("Other\r\n")
        self.replacebody("words\r\n")
        return Milter.CONTINUE

    def do_large_body(self):
        self.replacebody("x" * 62 + "\r\n")
        for _ in range(20):
            self.replacebody(("y" * 62 + "\r\n") * 1000)
        return Milter.CONTINUE

    def do_recipients(self):
        self.addrcpt("<new@receiver.test>")
        self.addrcpt("<eve@elsewhere.test>")
        return Milter.CONTINUE

    def do_redirect(self):
        self.delrcpt("<bob@receiver.test>")
        self.addrcpt("<eve@elsewhere.test>")
        return Milter.CONTINUE

    def do_nobody(self):
        self.delrcpt("<bob@receiver.test>")
        return Milter.CONTINUE

    def do_sender(self):
        self.chgfrom("<other@sender.test>")
        return Milter.CONTINUE

    def do_quarantine(self):
        self.quarantine("It smells")
        return Milter.CONTINUE

    def do_discard(self):
        return Milter.DISCARD

    def do_reply(self):
        self.setreply("554", "5.6.9", "No", "thanks")
        return Milter.REJECT

    def do_slow(self):
        import time
        for _ in range(4):
            time.sleep(1)
            self.progress()
        self.addheader("X-Slow", "1")
        return Milter.CONTINUE


Milter.factory = Filter
Milter.set_flags(Milter.CURR_ACTS)
Milter.runmilter("filter", sys.argv[1], 60)
