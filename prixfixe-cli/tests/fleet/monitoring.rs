//! Prometheus with the configuration of `deploy/`, scraping a server that has every kind of
//! traffic: each query of the dashboard has something to show, and each alert has what it looks at.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use prixfixe_test_support::{has, run, wait_until};
use serde_json::Value;
use tempfile::TempDir;

use crate::client::Talk;
use crate::deploy::{self, ADMIN, SMTP, SMTPS, Site, put};
use crate::http;
use crate::process::Process;

#[test]
fn the_alerts_fire_when_they_should_and_only_then() {
    if !has("promtool") {
        return;
    }
    let folder = deploy::path("prometheus");
    run(Command::new("promtool")
        .args([
            "check",
            "config",
            "--lint=all",
            "--lint-fatal",
            "prometheus.yml",
        ])
        .current_dir(&folder));
    run(Command::new("promtool")
        .args(["check", "rules", "--lint=all", "--lint-fatal", "alerts.yml"])
        .current_dir(&folder));
    run(Command::new("promtool")
        .args(["test", "rules", "alerts.test.yml"])
        .current_dir(&folder));
}

#[test]
fn each_alert_is_tested_and_in_the_guide() {
    let rules = deploy::read("prometheus/alerts.yml");
    let tests = deploy::read("prometheus/alerts.test.yml");
    let guide = fs::read_to_string(deploy::root().join("docs/DEPLOYMENT.md")).expect("the guide");
    let names: Vec<_> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(names.len() >= 8);
    for name in names {
        let blocks = tests.split("      - eval_time").filter(|block| {
            block
                .lines()
                .any(|line| line.trim() == format!("alertname: {name}"))
        });
        let (quiet, fires): (Vec<_>, _) = blocks.partition(|it| it.contains("exp_alerts: []"));
        assert!(!quiet.is_empty(), "{name}: no test of its silence");
        assert!(!fires.is_empty(), "{name}: no test in which it fires");
    }
    let runbooks: Vec<_> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("runbook: docs/DEPLOYMENT.md#"))
        .collect();
    assert_eq!(runbooks.len(), rules.matches("- alert: ").count());
    for runbook in runbooks {
        let heading = |line: &str| {
            line.trim_start_matches('#').trim().to_lowercase() == runbook && line.starts_with('#')
        };
        assert!(guide.lines().any(heading), "no heading {runbook}");
    }
}

#[test]
fn every_query_has_data_from_a_real_prometheus() {
    if !has("prometheus") || !has("promtool") || !has("curl") {
        return;
    }
    let site = Site::new(2);
    let server = Server::start(site);
    let traffic = Traffic::start(site, &server.folder.path().join("mail"));
    let _spooling = Server::with_spool(site);
    let prometheus = Prometheus::start(site);

    for (panel, query) in dashboard_queries() {
        wait_until(&format!("data in the panel {panel:?} of {query}"), || {
            prometheus.values(&query).iter().any(|value| *value > 0.0)
        });
    }
    for rule in prometheus.rules() {
        let name = rule["name"].as_str().expect("a name");
        for selector in selectors(rule["query"].as_str().expect("an expression")) {
            wait_until(&format!("{name}: data of {selector}"), || {
                !prometheus.values(&selector).is_empty()
            });
        }
    }
    let state = |name: &str, wanted: &str| {
        wait_until(&format!("{name}: {wanted}"), || {
            prometheus.rules().iter().any(|rule| {
                assert!(
                    rule["health"] == "ok" || rule["health"] == "unknown",
                    "{rule}"
                );
                rule["name"] == name && rule["state"] == wanted
            })
        });
    };
    // One of the three targets is not there, and the disk fails now and then.
    state("PrixFixeDown", "pending");
    state("PrixFixeCannotStore", "pending");
    state("PrixFixeMemory", "inactive");
    assert!(traffic.is_running());

    let (status, metrics) = http::get(server.admin, "/metrics").expect("metrics");
    assert_eq!(status, 200);
    let file = server.folder.path().join("metrics");
    fs::write(&file, metrics).expect("a file");
    run(Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(fs::File::open(&file).expect("the file")));
}

/// A server with limits that are soon reached.
struct Server {
    _process: Process,
    folder: TempDir,
    admin: SocketAddr,
}

impl Server {
    fn start(site: Site) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let at = site.server(0);
        let mut command = Command::new(env!("CARGO_BIN_EXE_prixfixe"));
        command
            .env_clear()
            .current_dir(folder.path())
            .args(["serve", "--tls-self-signed"])
            .args(["--listen", &format!("{at}:{SMTP}")])
            .args(["--listen-tls", &format!("{at}:{SMTPS}")])
            .args(["--admin", &format!("{at}:{ADMIN}")])
            .args(["--deliver", "maildir:mail", "--max-connections", "4"])
            .args(["--command-timeout", "1", "--max-message-size", "10kB"]);
        let mut process = Process::start(&mut command, folder.path().join("log"));
        let admin = SocketAddr::from((at, ADMIN));
        process.wait_until_it_listens(admin);
        Self {
            _process: process,
            folder,
            admin,
        }
    }

    /// Another one, with mail in its spool for a target that is not there.
    fn with_spool(site: Site) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let at = site.server(1);
        // Another name than the other server's target has, which is there.
        let away =
            "delivery.target = \"away\"\n[[target]]\nname = \"away\"\nurl = \"lmtp:127.0.0.1:1\"\n";
        fs::write(folder.path().join("prixfixe.toml"), away).expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_prixfixe"));
        command
            .env_clear()
            .current_dir(folder.path())
            .args(["serve", "--spool", "spool", "--config", "prixfixe.toml"])
            .args(["--listen", &format!("{at}:{SMTP}")])
            .args(["--admin", &format!("{at}:{ADMIN}")]);
        let mut process = Process::start(&mut command, folder.path().join("log"));
        let admin = SocketAddr::from((at, ADMIN));
        process.wait_until_it_listens(admin);
        let mut talk = greeted(SocketAddr::from((at, SMTP)));
        message(&mut talk, b"Subject: it waits", 250);
        Self {
            _process: process,
            folder,
            admin,
        }
    }
}

/// Mail of every kind, and what is no mail, until it is dropped.
struct Traffic {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Traffic {
    fn start(site: Site, maildir: &Path) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let (stopped, maildir) = (Arc::clone(&stop), maildir.to_owned());
        let at = site.server(0);
        let thread = thread::spawn(move || {
            let clear = SocketAddr::from((at, SMTP));
            let tls = SocketAddr::from((at, SMTPS));
            while !stopped.load(Ordering::Relaxed) {
                accepted_and_refused(clear);
                cannot_be_stored(clear, &maildir);
                too_many_and_too_slow(clear);
                handshakes(tls);
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }

    fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|it| !it.is_finished())
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed.
            let _ = thread.join();
        }
    }
}

fn greeted(server: SocketAddr) -> Talk {
    let mut talk = Talk::connect([127, 0, 0, 1].into(), server).expect("a connection");
    talk.reply(220).expect("a greeting");
    talk.ask("EHLO client.test\r\n", 250).expect("EHLO");
    talk
}

/// Sends a message; the reply after its content must have this code.
fn message(talk: &mut Talk, content: &[u8], code: u16) {
    talk.ask("MAIL FROM:<a@client.test>\r\n", 250)
        .expect("MAIL");
    talk.ask("RCPT TO:<b@example.com>\r\n", 250).expect("RCPT");
    talk.ask("DATA\r\n", 354).expect("DATA");
    talk.write(content).expect("content");
    talk.ask("\r\n.\r\n", code).expect("the end");
}

fn accepted_and_refused(server: SocketAddr) {
    let mut talk = greeted(server);
    for _ in 0..10 {
        message(&mut talk, b"Subject: good", 250);
    }
    message(&mut talk, &b"too large\r\n".repeat(2000), 552);
    message(&mut talk, b"a bare\nline feed", 550);
    talk.ask("WHO ARE YOU\r\n", 500).expect("a refusal");
    talk.ask("DATA\r\n", 503).expect("a refusal");
    talk.ask("QUIT\r\n", 221).expect("the end");
}

/// A file stands where a folder should.
fn cannot_be_stored(server: SocketAddr, maildir: &Path) {
    let mut talk = greeted(server);
    let aside = maildir.with_extension("aside");
    fs::rename(maildir, &aside).expect("a Maildir");
    fs::write(maildir, "").expect("a file");
    message(&mut talk, b"Subject: no room", 451);
    fs::remove_file(maildir).expect("the file");
    fs::rename(&aside, maildir).expect("the Maildir");
}

/// As many clients as there may be say nothing, one more is sent away, and time runs out for all.
fn too_many_and_too_slow(server: SocketAddr) {
    let connect = || Talk::connect([127, 0, 0, 1].into(), server).expect("a connection");
    let mut clients: Vec<_> = (0..5).map(|_| connect()).collect();
    for client in &mut clients {
        // The greeting, or 421: connections that ended a moment ago may still count.
        let _ = client.reply(220);
    }
    for client in &mut clients {
        // 421, and then the end.
        while client.reply(421).is_ok() {}
    }
}

fn handshakes(server: SocketAddr) {
    run(Command::new("curl")
        .args(["--silent", "--show-error", "--insecure", "--max-time", "60"])
        // It may come while the clients before still count.
        .args(["--retry", "5", "--retry-all-errors", "--retry-delay", "1"])
        .arg(format!("smtps://{server}/client.test")));
    let mut stream = TcpStream::connect(server).expect("a connection");
    // The server may have closed; then there is no more to do.
    let _ = stream.write_all(b"EHLO this is no handshake\r\n");
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}

struct Prometheus {
    _process: Process,
    _folder: TempDir,
    address: SocketAddr,
}

impl Prometheus {
    fn start(site: Site) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let text = site.place(&deploy::read("prometheus/prometheus.yml"));
        let text = put(&text, "15s", "1s");
        fs::write(folder.path().join("prometheus.yml"), text).expect("a file");
        let alerts = deploy::read("prometheus/alerts.yml");
        fs::write(folder.path().join("alerts.yml"), alerts).expect("a file");

        let address = SocketAddr::from((site.prometheus(), 9090));
        let mut process = Process::start(
            Command::new("prometheus")
                .current_dir(folder.path())
                .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
                .args(["--log.level=warn"])
                .arg(format!("--web.listen-address={address}")),
            folder.path().join("log"),
        );
        process.wait_until_it_listens(address);
        Self {
            _process: process,
            _folder: folder,
            address,
        }
    }

    fn ask(&self, path: &str) -> Value {
        let (_, answer) = http::get(self.address, path).expect("an answer");
        serde_json::from_str(&answer).unwrap_or(Value::String(answer))
    }

    /// The values that a query has now.
    fn values(&self, query: &str) -> Vec<f64> {
        let answer = self.ask(&format!("/api/v1/query?query={}", http::encode(query)));
        let error = answer["errorType"].as_str();
        assert!(
            error.is_none_or(|it| it == "unavailable"),
            "{query}: {answer}"
        );
        let results = answer["data"]["result"].as_array();
        results
            .into_iter()
            .flatten()
            .filter_map(|series| series["value"][1].as_str()?.parse().ok())
            .collect()
    }

    fn rules(&self) -> Vec<Value> {
        let answer = self.ask("/api/v1/rules");
        let rules = answer["data"]["groups"][0]["rules"].as_array();
        rules.cloned().unwrap_or_default()
    }
}

#[test]
fn each_panel_says_what_it_shows_and_in_which_unit() {
    let text = deploy::read("grafana/dashboards/prixfixe.json");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    let mut titles = Vec::new();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let title = panel["title"].to_string();
        assert!(
            is_text(&panel["title"]) && is_text(&panel["description"]),
            "{title}"
        );
        // A table has a unit a column, a heat map one at its axis.
        let unit = match panel["type"].as_str() {
            Some("table") => continue,
            Some("heatmap") => &panel["options"]["yAxis"]["unit"],
            _ => &panel["fieldConfig"]["defaults"]["unit"],
        };
        assert!(is_text(unit) && unit != "none", "{title}");
        let targets = panel["targets"].as_array().expect("targets");
        assert!(
            targets.iter().all(|it| is_text(&it["legendFormat"])),
            "{title}"
        );
        assert!(!titles.contains(&title), "{title} twice");
        titles.push(title);
    }
    assert!(panels.iter().any(|panel| panel["type"] == "heatmap"));
}

/// The queries of each panel, with what Grafana would put in place of its variables.
fn dashboard_queries() -> Vec<(String, String)> {
    let text = deploy::read("grafana/dashboards/prixfixe.json");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let rows = panels.iter().filter(|panel| panel["type"] == "row");
    assert_eq!(rows.count(), 6);
    let queries: Vec<_> = panels
        .iter()
        .filter(|panel| panel["type"] != "row")
        .flat_map(|panel| {
            let targets = panel["targets"].as_array().expect("targets");
            assert!(!targets.is_empty(), "{panel}");
            targets.iter().map(|target| {
                let query = target["expr"].as_str().expect("a query");
                let query = query
                    .replace("$__rate_interval", "10s")
                    .replace("$__range", "1m")
                    .replace("$job", ".*")
                    .replace("$instance", ".*");
                assert!(!query.contains('$'), "{query}");
                (panel["title"].to_string(), query)
            })
        })
        .collect();
    assert!(queries.len() >= 20);
    queries
}

/// The series that an expression looks at: each name of a metric, with its labels where it has
/// some.
fn selectors(expression: &str) -> Vec<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find(is_name) {
        let (_, from) = rest.split_at(start);
        let end = from.find(|c| !is_name(c)).unwrap_or(from.len());
        let (name, behind) = from.split_at(end);
        let labels = match behind.strip_prefix('{').and_then(|it| it.find('}')) {
            Some(end) => &behind[..end + 2],
            None => "",
        };
        if name == "up" || name.starts_with("smtp_") || name.starts_with("prixfixe_") {
            found.push(format!("{name}{labels}"));
        }
        rest = &behind[labels.len()..];
    }
    assert!(!found.is_empty(), "{expression}");
    found
}

#[test]
fn alerts_and_panels_do_not_depend_on_the_name_of_a_job() {
    let rules = deploy::read("prometheus/alerts.yml");
    // But for a target of that name that has never answered.
    let named: Vec<_> = rules.lines().filter(|line| line.contains("job=")).collect();
    assert_eq!(named, ["          up{job=\"prixfixe\"} == 0"]);
    for (panel, query) in dashboard_queries() {
        for selector in selectors(&query) {
            assert!(selector.contains("job=~"), "{panel}: {selector}");
        }
    }
}
