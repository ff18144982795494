//! Headless Chromium, driven by the DevTools protocol over its pipe: messages of JSON, each ended
//! by a NUL.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Far longer than anything takes, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// A browser takes much of a small machine: one at a time.
static ONE: Mutex<()> = Mutex::new(());

/// A browser with one page open.
pub(crate) struct Chromium {
    child: Child,
    input: Option<ChildStdin>,
    messages: Receiver<Value>,
    session: Option<String>,
    calls: u64,
    events: Vec<Value>,
    profile: TempDir,
    _one: MutexGuard<'static, ()>,
}

impl Chromium {
    /// None where it is not installed: the test is skipped, or fails where skipping is not wanted.
    pub(crate) fn start() -> Option<Self> {
        let found = std::env::var_os("PATH").is_some_and(|path| {
            std::env::split_paths(&path).any(|folder| folder.join("chromium").is_file())
        });
        if !found {
            assert!(
                std::env::var_os("PRIXFIXE_TEST_REQUIRE_TOOLS").is_none(),
                "chromium is not installed"
            );
            eprintln!("skipped: chromium is not installed");
            return None;
        }
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let profile = TempDir::new().unwrap();
        let mut child = command(profile.path()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, messages) = mpsc::channel();
        thread::spawn(move || {
            for message in output.split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).unwrap();
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let mut chromium = Self {
            input: child.stdin.take(),
            child,
            messages,
            session: None,
            calls: 0,
            events: Vec::new(),
            profile,
            _one: one,
        };
        let target = chromium.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = chromium.call("Target.attachToTarget", attach);
        chromium.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            chromium.call(&format!("{domain}.enable"), json!({}));
        }
        Some(chromium)
    }

    pub(crate) fn open(&mut self, url: &str) {
        let answer = self.call("Page.navigate", json!({"url": url}));
        assert_eq!(answer["errorText"], Value::Null, "{url}");
        self.until("document.readyState === 'complete'");
    }

    /// Gives the page a window of this width.
    pub(crate) fn resize(&mut self, width: u32) {
        let size =
            json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500});
        self.call("Emulation.setDeviceMetricsOverride", size);
        self.until(&format!("innerWidth === {width}"));
    }

    /// The value of an expression in the page.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let question =
            json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", question);
        let exception = &answer["exceptionDetails"];
        assert!(exception.is_null(), "{expression}: {exception:#}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub(crate) fn until(&mut self, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.evaluate(expression) != Value::Bool(true) {
            if Instant::now() > deadline {
                let page = self.evaluate("document.body.innerText");
                panic!("never: {expression}\n{}", page.as_str().unwrap_or_default());
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// What happened by this name since the last call of this kind, and before this moment.
    pub(crate) fn events(&mut self, method: &str) -> Vec<Value> {
        // What the browser says comes in its order: this answer after what went before.
        self.evaluate("0");
        let (found, others) = std::mem::take(&mut self.events)
            .into_iter()
            .partition(|event| event["method"] == method);
        self.events = others;
        found
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let id = self.calls;
        let mut message = json!({"id": id, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        let mut bytes = serde_json::to_vec(&message).unwrap();
        bytes.push(0);
        let sent = self.input.as_mut().unwrap().write_all(&bytes);
        sent.unwrap_or_else(|error| panic!("{method}: {error}: {}", self.complaints()));
        loop {
            let message = self.messages.recv_timeout(PATIENCE);
            let mut message =
                message.unwrap_or_else(|error| panic!("{method}: {error}: {}", self.complaints()));
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].take();
            }
            self.events.push(message);
        }
    }

    /// What it wrote to its stderr.
    fn complaints(&self) -> String {
        fs::read_to_string(self.profile.path().join("stderr")).unwrap_or_default()
    }
}

/// It reads the pipe at descriptor 3 and writes to that at 4.
fn command(profile: &Path) -> Command {
    let stderr = fs::File::create(profile.join("stderr")).unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-c", "exec chromium \"$@\" 3<&0 4>&1 </dev/null >/dev/null"])
        .args(["sh", "--headless", "--no-sandbox", "--disable-gpu"])
        .args(["--disable-quic", "--no-first-run", "--disable-sync"])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(["--remote-debugging-pipe", "about:blank"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(stderr);
    command
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // It ends when its pipe does; its own children with it.
        drop(self.input.take());
        let deadline = Instant::now() + Duration::from_secs(10);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
