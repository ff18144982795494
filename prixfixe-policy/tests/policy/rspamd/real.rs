//! rspamd as Debian has it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};

use prixfixe_policy::Rspamd;
use prixfixe_server::Transport;
use prixfixe_test_support::{has, unused_port, wait_until};
use tempfile::TempDir;

use crate::on_both_transports;
use crate::served::Served;

on_both_transports!(what_the_real_one_says_is_done);

/// What every spam filter takes for spam.
const GTUBE: &str = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";

/// A rule for each action, and a field that says what rspamd was told.
const RULES: &str = r#"
rspamd_config:register_symbol({name = "TOLD", type = "postfilter", callback = function(task)
  local received = task:get_received_headers()
  local told = string.format("%s %s %s %s %d %s", task:get_from("smtp")[1].addr, task:get_recipients("smtp")[1].addr,
    tostring(task:get_ip()), task:get_helo(), #received, tostring(received[1].real_ip))
  task:set_milter_reply({add_headers = {["X-Told"] = {value = told, order = 1}}, remove_headers = {["X-Gone"] = 0}})
end})
"#;

/// rspamd, until it is dropped.
struct Running {
    process: Child,
    port: u16,
    _directory: TempDir,
}

impl Running {
    fn start() -> Option<Self> {
        if !has("rspamd") {
            return None;
        }
        let directory = TempDir::new().unwrap();
        let port = unused_port(Ipv4Addr::LOCALHOST).unwrap();
        let folder = directory.path().display();
        let configuration = format!(
            r#"options {{
    pidfile = "{folder}/pid"; cache_file = "{folder}/cache"; dynamic_conf = "{folder}/dynamic";
    history_file = "{folder}/history"; control_socket = "{folder}/control mode=0600"; tempdir = "{folder}";
    hs_cache_dir = "{folder}"; url_tld = "{folder}/tld"; filters = "regexp"; allow_raw_input = true;
    dns {{ nameserver = ["127.0.0.1:9"]; timeout = 10ms; retransmits = 1; }}
}}
logging {{ type = "file"; filename = "{folder}/log"; }}
worker "normal" {{ bind_socket = "127.0.0.1:{port}"; count = 1; mime = true; }}
actions {{ reject = 15; rewrite_subject = 8; add_header = 6; greylist = 4; subject = "[spam] %s"; }}
regexp {{
    CHEAP {{ re = "/cheap/{{body}}"; score = 7; }}
    DEAR {{ re = "/dear/{{body}}"; score = 9; }}
    GREY {{ re = "/grey/{{body}}"; score = 5; }}
}}
lua = "{folder}/rules.lua";
"#
        );
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        write("rspamd.conf", &configuration);
        write("rules.lua", RULES);
        write("tld", "test\n");
        let mut command = Command::new("rspamd");
        // The tests may run as root, and it is nobody else's.
        command.args(["-f", "-i", "-c"]);
        command.arg(directory.path().join("rspamd.conf"));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().unwrap();
        wait_until("rspamd answers", || answers(port));
        Some(Self {
            process,
            port,
            _directory: directory,
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Killed, it would leave its workers behind.
        let id = self.process.id().to_string();
        let _ = Command::new("kill").arg(id).status();
        let _ = self.process.wait();
    }
}

fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
        return false;
    };
    let _ = stream.write_all(b"GET /ping HTTP/1.0\r\n\r\n");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer.contains("pong")
}

async fn what_the_real_one_says_is_done(transport: Transport) {
    let Some(rspamd) = Running::start() else {
        return;
    };
    let url = format!("http://127.0.0.1:{}", rspamd.port);
    let check = Rspamd::new(&url).expect("a URL");
    let mut served = Served::with(transport, check);
    let told = "X-Told: ann@sender.test bob@receiver.test 127.0.0.1 client.test 1 127.0.0.1\r\n";
    let message = |body: &str| {
        format!("X-Gone: 1\r\nFrom: ann@sender.test\r\nSubject: h\u{e9}\r\nx-gone: 2\r\n\r\n{body}")
    };
    let kept = served.keeps("ann@sender.test", &message("fair")).await;
    let usual = "From: ann@sender.test\r\nSubject: h\u{e9}\r\n";
    assert_eq!(kept, format!("{told}{usual}\r\nfair\r\n"));
    let kept = served.keeps("ann@sender.test", &message("cheap")).await;
    let expected = format!("{told}{usual}X-Spam: Yes\r\n\r\ncheap\r\n");
    assert_eq!(kept, expected);
    let kept = served.keeps("ann@sender.test", &message("dear")).await;
    let subject = "Subject: =?UTF-8?Q?=5Bspam=5D_h=C3=A9?=\r\n";
    let expected = format!("{told}From: ann@sender.test\r\n{subject}\r\ndear\r\n");
    assert_eq!(kept, expected);
    let reply = served.gets("ann@sender.test", &message("grey")).await;
    assert!(reply.starts_with("451 4.7.1 "), "{reply}");
    let reply = served.gets("ann@sender.test", &message(GTUBE)).await;
    assert_eq!(reply, "554 5.7.1 Gtube pattern");
}
