//! The status page in a real browser.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;

use rustix::process::Signal;
use serde_json::Value;

use crate::admin::{get, start};
use crate::chromium::Chromium;
use crate::harness::{Client, Serve, prixfixe, run};

/// What is refused below, and what it must not become in the page.
const MARKUP: &str = r#""<b>bold</b><img/src=x/onerror=alert(1)>"@elsewhere.example"#;

const HIDE: &str = "Object.defineProperty(document, 'hidden', { value: true, configurable: true }); \
     document.dispatchEvent(new Event('visibilitychange'))";
const SHOW: &str = "delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))";

/// How many timers for the next poll are set at the end of one.
const TIMERS_OF_A_POLL: &str = "(async () => {
    const real = globalThis.setTimeout;
    while (asking) await new Promise((done) => real(done, 10));
    let timers = 0;
    globalThis.setTimeout = (...all) => (timers++, real(...all));
    await poll();
    globalThis.setTimeout = real;
    return timers;
})()";

/// Accepts messages for here.example alone, and offers TLS.
pub(crate) fn start_server(more: &[&str]) -> (Serve, SocketAddr) {
    let arguments = [
        "--domain=mx.here.example",
        "--accept-domain=here.example",
        "--max-message-size=4096",
        "--max-connections=7",
        "--tls-self-signed",
    ];
    start(&[&arguments, more].concat())
}

pub(crate) fn open_page(admin: SocketAddr) -> Option<Chromium> {
    let mut chromium = Chromium::start()?;
    chromium.open(&format!("http://{admin}/"));
    Some(chromium)
}

/// Two messages accepted, two failed after their end, and a refusal of each kind: a recipient, a
/// command unknown, one out of order.
fn send_a_mix(serve: &Serve) {
    let mut client = Client::greeted(serve);
    client.ask("EHLO client.example", "250 ");
    client.ask("RCPT TO:<b@here.example>", "503 ");
    client.ask("MAIL FROM:<>", "250 ");
    client.ask(&format!("RCPT TO:<{MARKUP}>"), "550 5.7.1");
    client.ask("NONSENSE", "500 ");
    for (body, expected) in [
        ("Subject: one\r\n\r\nhello\r\n.", "250 "),
        ("Subject: two\r\n\r\nhello\r\n.", "250 "),
        ("Subject: bare\nline feed\r\n.", "550 5.5.2"),
        (&format!("{}.", "0123456789\r\n".repeat(500)), "552 5.3.4"),
    ] {
        client.begin_message();
        client.ask(body, expected);
    }
    client.ask("QUIT", "221 ");
    client.assert_closed();
}

/// Twenty messages over TLS.
fn send_over_tls(serve: &Serve) {
    let address = serve.address().to_string();
    let arguments = [
        "bench",
        "--starttls",
        "--tls-insecure",
        "--messages=20",
        "--concurrency=2",
        "--to=b@here.example",
        &address,
    ];
    let (code, stdout, stderr) = run(&mut prixfixe(&arguments));
    assert_eq!(code, 0, "{stdout}{stderr}");
}

/// The lines of `/metrics`: the value of each series as it stands there, and the sums over labels
/// by name.
fn metrics(admin: SocketAddr) -> (BTreeMap<String, f64>, BTreeMap<String, f64>) {
    let text = get(admin, "/metrics").body;
    let series: BTreeMap<String, f64> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect();
    let mut sums = BTreeMap::new();
    for (name, value) in &series {
        *sums.entry(base_name(name)).or_default() += value;
    }
    (series, sums)
}

fn base_name(series: &str) -> String {
    series.split('{').next().unwrap().to_owned()
}

/// Whether a number moves by itself between two readings.
fn moves(name: &str) -> bool {
    [
        "smtp_messages_per_second",
        "smtp_memory_bytes",
        "smtp_cpu_usage_percent",
    ]
    .contains(&name)
}

fn until_received(chromium: &mut Chromium, count: u32) {
    chromium.until(&format!(
        "document.querySelector('[data-metric=smtp_messages_received_total]').dataset.value == {count}"
    ));
    chromium.until(
        "document.querySelector('[data-metric=smtp_active_connections]').dataset.value == 0",
    );
}

/// Every number on the page that names its metric is that of `/metrics`.
fn assert_same(chromium: &mut Chromium, admin: SocketAddr) {
    let (series, sums) = metrics(admin);
    let shown = chromium.evaluate(
        "[...document.querySelectorAll('[data-metric]')].map(({ dataset, textContent }) => [dataset.metric, dataset.value, textContent])",
    );
    let shown = shown.as_array().unwrap();
    for one in shown {
        let name = one[0].as_str().unwrap();
        let expected = if name.contains('{') { &series } else { &sums };
        let expected = expected
            .get(name)
            .unwrap_or_else(|| panic!("{name} is not in /metrics"));
        let value: f64 = one[1].as_str().unwrap().parse().unwrap();
        assert!(
            moves(name) || value == *expected,
            "{one} is {expected} in /metrics"
        );
    }
    let names: Vec<&str> = shown.iter().filter_map(|one| one[0].as_str()).collect();
    // What went wrong is there with each of its labels.
    for (name, value) in &series {
        let wrong = [
            "smtp_messages_failed_total",
            "smtp_command_errors_total",
            "smtp_tls_certificate_expiry_timestamp_seconds",
        ];
        if wrong.contains(&base_name(name).as_str()) && *value > 0.0 {
            assert!(names.contains(&name.as_str()), "{name} is not on the page");
        }
    }
    for name in [
        "smtp_messages_received_total",
        "smtp_messages_success_total",
        "smtp_messages_failed_total",
        "smtp_messages_per_second",
        "smtp_success_rate",
        "smtp_active_connections",
        "smtp_max_connections",
        "smtp_bytes_received_total",
        "smtp_memory_bytes",
        "smtp_cpu_usage_percent",
    ] {
        assert!(names.contains(&name), "{name} is not on the page");
    }
}

/// The q-quantile of the processing times since the start, linear within its bucket.
fn quantile(admin: SocketAddr, q: f64) -> f64 {
    let status: Value = serde_json::from_str(&get(admin, "/status.json").body).unwrap();
    let buckets: Vec<(f64, f64)> = status["processing"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bucket| {
            let bound = bucket[0].as_str().unwrap().replace("+Inf", "inf");
            (bound.parse().unwrap(), bucket[1].as_f64().unwrap())
        })
        .collect();
    let mut rank = q * buckets.iter().map(|(_, count)| count).sum::<f64>();
    let mut low = 0.0;
    for (bound, count) in buckets {
        if count > 0.0 && rank <= count {
            // In the first bucket nobody knows where.
            let share = if low == 0.0 { 1.0 } else { rank / count };
            return low + (bound - low) * share;
        }
        rank -= count;
        low = bound;
    }
    f64::INFINITY
}

#[test]
fn the_page_shows_what_the_metrics_say_and_follows_without_a_reload() {
    let (serve, admin) = start_server(&["--deliver=discard:"]);
    send_a_mix(&serve);
    let Some(mut chromium) = open_page(admin) else {
        return;
    };
    until_received(&mut chromium, 4);
    assert_same(&mut chromium, admin);
    // All of it has come in the time shown, from the start on.
    chromium.until("kept.points.reduce((sum, { processing }) => sum + processing.reduce((a, b) => a + b), 0) === 4");
    chromium.evaluate("showWindow()");
    for q in [0.5, 0.9, 0.99, 0.999] {
        let target =
            format!("Number(document.querySelector('[data-quantile=\"{q}\"]').dataset.value)");
        let shown = chromium.evaluate(&target).as_f64().unwrap();
        let expected = quantile(admin, q);
        assert!(
            (shown - expected).abs() < 1e-9,
            "P{q}: {shown}, not {expected}"
        );
    }
    for (element, text) in [
        ("#domain", "mx.here.example"),
        ("#state-word", "Ready"),
        ("#version", env!("CARGO_PKG_VERSION")),
        ("#transport", "tokio"),
        ("[data-metric=smtp_messages_received_total]", "4"),
        ("[data-metric=smtp_messages_failed_total]", "2"),
        ("#tls-share", "0.00\u{202f}%"),
    ] {
        let shown = chromium.evaluate(&format!("document.querySelector('{element}').textContent"));
        assert_eq!(shown, text, "{element}");
    }
    let listeners = chromium.evaluate("document.getElementById('listeners').textContent");
    assert_eq!(listeners, format!("{} STARTTLS", serve.address()));

    chromium.evaluate("globalThis.sameDocument = true");
    send_over_tls(&serve);
    until_received(&mut chromium, 24);
    assert_same(&mut chromium, admin);
    assert_eq!(chromium.evaluate("sameDocument"), true);
    // What came before the page was opened, too.
    chromium.until(
        "kept.points.reduce((sum, { gained }) => sum + (gained.get(SUCCESS) || 0), 0) === 22",
    );
    let share = chromium.evaluate("Number(document.getElementById('tls-share').dataset.value)");
    assert_eq!(share.as_f64(), Some(2.0 / 3.0), "two of three connections");
}

#[test]
fn the_page_fits_every_width_and_asks_for_nothing_from_elsewhere() {
    let (serve, admin) = start_server(&["--deliver=discard:"]);
    let Some(mut chromium) = open_page(admin) else {
        return;
    };
    until_received(&mut chromium, 0);
    chromium.until("document.getElementById('recent').hidden");
    assert_fits(&mut chromium);

    send_a_mix(&serve);
    let mut client = Client::greeted(&serve);
    client.ask("EHLO client.example", "250 ");
    client.ask("MAIL FROM:<a@client.example>", "250 ");
    let unbroken = format!("{}@{}.example", "a".repeat(64), "b".repeat(63));
    client.ask(&format!("RCPT TO:<{unbroken}>"), "550 5.7.1");
    drop(client);
    until_received(&mut chromium, 4);
    chromium.until(&format!(
        "document.getElementById('recent').textContent.includes('{unbroken}')"
    ));
    assert_fits(&mut chromium);
    // Two points make a line, and both readings are there.
    chromium.until("document.querySelector('#plot-messages path.line.accent') !== null");

    // What a client wrote is text.
    let table = chromium.evaluate("document.getElementById('recent').textContent");
    assert!(table.as_str().unwrap().contains(MARKUP), "{table}");
    assert_eq!(
        chromium.evaluate("document.querySelectorAll('#recent :is(b, img)').length"),
        0
    );

    // The read-out follows the keyboard.
    chromium.evaluate(
        "document.querySelector('#plot-messages svg').dispatchEvent(new KeyboardEvent('keydown', { key: 'End' }))",
    );
    let spoken = chromium.evaluate("document.querySelector('#plot-messages .spoken').textContent");
    assert!(spoken.as_str().unwrap().contains("Accepted "), "{spoken}");

    // Out of sight it asks no more; in sight again it asks at once.
    chromium.evaluate(HIDE);
    assert_eq!(chromium.evaluate(TIMERS_OF_A_POLL), 0);
    let points = chromium.evaluate("kept.points.length");
    chromium.evaluate(SHOW);
    chromium.until(&format!("kept.points.length > {points}"));
    assert_eq!(chromium.evaluate(TIMERS_OF_A_POLL), 1);

    let requests = chromium.events("Network.requestWillBeSent");
    let mut paths: Vec<String> = Vec::new();
    for request in &requests {
        let url = request["params"]["request"]["url"].as_str().unwrap();
        let path = url.strip_prefix(&format!("http://{admin}"));
        paths.extend(path.map(str::to_owned));
        assert!(path.is_some() || url.starts_with("data:"), "{url}");
    }
    paths.sort();
    paths.dedup();
    for path in &mut paths {
        *path = path.split('?').next().unwrap().to_owned();
    }
    paths.dedup();
    assert_eq!(paths, ["/", "/metrics", "/status.json"]);
    assert_quiet(&mut chromium);

    // The policy is in force: neither connections elsewhere nor HTML of text.
    let elsewhere = "fetch('http://192.0.2.1/').then(() => 'asked', () => 'refused')";
    assert_eq!(chromium.evaluate(elsewhere), "refused");
    let html = "try { document.body.innerHTML = '<p>'; 'set' } catch { 'refused' }";
    assert_eq!(chromium.evaluate(html), "refused");
    assert!(
        !chromium.events("Log.entryAdded").is_empty(),
        "a violation is logged"
    );
}

pub(crate) fn assert_fits(chromium: &mut Chromium) {
    for width in [320, 360, 768, 1280] {
        chromium.resize(width);
        // The plots follow in the frame after.
        chromium.evaluate(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))",
        );
        // Beside a scroll bar, where there is one.
        let over = chromium.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth",
        );
        assert_eq!(over, 0, "at {width}");
        // A plot that is cut off would not scroll.
        let cut = chromium.evaluate(
            "[...document.querySelectorAll('svg')].filter((one) => one.getBoundingClientRect().right > innerWidth).length",
        );
        assert_eq!(cut, 0, "at {width}");
    }
}

/// No exception, nothing on the console.
fn assert_quiet(chromium: &mut Chromium) {
    for method in [
        "Runtime.exceptionThrown",
        "Runtime.consoleAPICalled",
        "Log.entryAdded",
    ] {
        assert_eq!(chromium.events(method), Vec::<Value>::new(), "{method}");
    }
}

#[test]
fn the_page_tells_when_mail_cannot_be_delivered_and_when_the_server_drains_is_gone_and_is_back() {
    let (mut serve, admin) = start_server(&[]);
    let Some(mut chromium) = open_page(admin) else {
        return;
    };
    until_received(&mut chromium, 0);
    send_a_mix(&serve);
    until_received(&mut chromium, 4);

    let mail = serve.directory.path().join("mail");
    fs::rename(&mail, serve.directory.path().join("away")).unwrap();
    fs::write(&mail, "a file where the Maildir was").unwrap();
    let mut client = Client::greeted(&serve);
    client.begin_message();
    client.ask("Subject: hello\r\n\r\n.", "451 4.3.0 ");
    chromium.until("document.getElementById('state').dataset.state === 'failing'");
    let state = chromium.evaluate("document.getElementById('state').textContent");
    let state = state.as_str().unwrap();
    assert!(
        state.starts_with("Cannot deliver cannot ") && state.contains(mail.to_str().unwrap()),
        "{state}"
    );
    fs::remove_file(&mail).unwrap();
    fs::rename(serve.directory.path().join("away"), &mail).unwrap();
    chromium.until("document.getElementById('state').textContent === 'Ready Mail is accepted.'");

    client.begin_message();
    serve.signal(Signal::TERM);
    serve.line("draining");
    chromium.until(
        "document.getElementById('state').textContent === 'Draining the server is stopping'",
    );
    client.ask("Subject: hello\r\n\r\n.", "250 ");
    drop(client);
    serve.wait();
    chromium.until("!document.getElementById('stale').hidden");
    let stale = chromium.evaluate("document.getElementById('stale').textContent");
    assert!(
        stale.as_str().unwrap().starts_with("No answer since "),
        "{stale}"
    );

    // It may have gone before it was asked about its last messages.
    let counted = "kept.points.reduce((sum, { gained }) => sum + [...gained].reduce((sum, [name, count]) => \
                   sum + (name.startsWith('smtp_messages_') ? count : 0), 0), 0)";
    let last = chromium.evaluate(counted).as_u64().unwrap();
    assert!((4..=6).contains(&last), "{last}");

    let directory = tempfile::TempDir::new().unwrap();
    let admin_text = admin.to_string();
    let arguments = [
        "serve",
        "--listen=127.0.0.1:0",
        "--deliver=discard:",
        "--admin",
        &admin_text,
    ];
    let serve = Serve::spawn(&mut prixfixe(&arguments), directory);
    chromium.until("document.getElementById('stale').hidden");
    let mut client = Client::greeted(&serve);
    client.begin_message();
    client.ask("Subject: hello\r\n\r\n.", "250 ");
    drop(client);
    until_received(&mut chromium, 1);
    assert_same(&mut chromium, admin);
    // Counters that began again are not a loss of what they had counted, and the plots say where it
    // was.
    chromium.until(&format!("{counted} === {last} + 1"));
    assert_eq!(
        chromium.evaluate("kept.points.filter(({ restarted }) => restarted).length"),
        1
    );
    assert_eq!(
        chromium.evaluate("document.querySelectorAll('#plot-messages .restart').length"),
        1
    );
}

/// Accepted mail and refusals from a client that means harm, over both transports.
#[test]
fn the_list_has_accepted_mail_and_refusals_is_searched_and_makes_nothing_of_what_a_client_sent() {
    for transport in ["--transport=tokio", "--transport=raw"] {
        let (serve, admin) = start_server(&["--deliver=discard:", transport]);
        let mut client = Client::greeted(&serve);
        client.ask("EHLO <script>alert(1)</script>", "250 ");
        client.ask(
            r#"MAIL FROM:<"<img/src=x/onerror=alert(2)>"@a.example>"#,
            "250 ",
        );
        client.ask("RCPT TO:<ann@here.example>", "250 ");
        client.ask(r#"RCPT TO:<"</td><b>"@here.example>"#, "250 ");
        client.ask(&format!("RCPT TO:<{MARKUP}>"), "550 5.7.1");
        client.ask("DATA", "354 ");
        client.ask("Subject: one\r\n\r\nhello\r\n.", "250 ");
        client.ask("<script>alert(3)</script>", "500 ");
        client.ask("QUIT", "221 ");
        client.assert_closed();
        let status: Value = serde_json::from_str(&get(admin, "/status.json").body).unwrap();
        let accepted = &status["accepted"][0];
        assert_eq!(accepted["client"], "127.0.0.1");
        assert_eq!(
            accepted["sender"],
            r#""<img/src=x/onerror=alert(2)>"@a.example"#
        );
        assert_eq!(accepted["recipients"], 2);
        let id = accepted["id"].as_str().unwrap();
        assert_eq!(id.len(), 24, "{id}");
        assert_eq!(
            status["clients"],
            serde_json::json!([{"client": "127.0.0.1", "accepted": 1, "bytes": accepted["bytes"], "refused": 2}])
        );
        let Some(mut chromium) = open_page(admin) else {
            return;
        };
        until_received(&mut chromium, 1);
        let found = |chromium: &mut Chromium, wanted: &str| {
            chromium.evaluate(&format!(
                "byId('search').value = {}; byId('search').dispatchEvent(new Event('input')); \
                 [...document.querySelectorAll('#recent tbody .result')].map((one) => one.textContent).sort().join()",
                serde_json::json!(wanted)
            ))
        };
        let all = "Accepted,Command refused,Recipient refused";
        assert_eq!(found(&mut chromium, ""), all);
        assert_eq!(found(&mut chromium, "127.0.0.1"), all);
        assert_eq!(found(&mut chromium, &id.to_lowercase()), "Accepted");
        assert_eq!(
            found(&mut chromium, "ONERROR=ALERT(2)"),
            "Accepted,Recipient refused"
        );
        assert_eq!(found(&mut chromium, "5.7.1"), "Recipient refused");
        assert_eq!(found(&mut chromium, "nobody@"), "");
        found(&mut chromium, "");
        let elements = "document.querySelectorAll(':is(#recent, #clients, #errors) :is(b, img, script)').length";
        assert_eq!(chromium.evaluate(elements), 0);
        assert_quiet(&mut chromium);
    }
}

#[test]
fn a_page_opened_later_has_the_history_of_the_server_and_says_what_fails() {
    // Waiting for the browser may take the minute that is looked at.
    let Some(mut chromium) = Chromium::start() else {
        return;
    };
    let (serve, admin) = start_server(&["--deliver=discard:"]);
    let mut client = Client::greeted(&serve);
    for number in 0..20 {
        client.begin_message();
        match number < 3 {
            true => client.ask("Subject: hello\r\n\r\nhello\r\n.", "250 "),
            false => client.ask("Subject: bare\nline feed\r\n.", "550 5.5.2"),
        };
    }
    let status: Value = serde_json::from_str(&get(admin, "/status.json").body).unwrap();
    assert_eq!(status["state"], "degraded");
    let reason = "3 of 20 messages were accepted in the last minute; failed: bare line ends (17)";
    assert_eq!(status["reason"], reason);
    assert!(status["history"].is_null());
    // It takes mail all the same, which is what a balancer asks about.
    assert_eq!(get(admin, "/readyz").code, 200);
    let sampled = |after: u64| -> Value {
        let answer = get(admin, &format!("/status.json?after={after}"));
        serde_json::from_str::<Value>(&answer.body).unwrap()["history"].clone()
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while sampled(2)["samples"].as_array().unwrap().is_empty() {
        assert!(std::time::Instant::now() < deadline, "{}", sampled(0));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }

    client.ask("QUIT", "221 ");
    client.assert_closed();
    chromium.open(&format!("http://{admin}/"));
    chromium.until("kept.points.length > 0");
    let before = "kept.points.reduce((sum, { gained }) => sum + (gained.get('smtp_messages_failed_total{reason=\"bare_line_end\"}') || 0), 0)";
    assert_eq!(chromium.evaluate(before), 17);
    assert_eq!(chromium.evaluate("kept.points.length > 2"), true);
    let state = chromium.evaluate("document.getElementById('state').textContent");
    assert_eq!(state, format!("Degraded {reason}"));
    // On the first screen.
    let first = "document.querySelector('#errors tr').getBoundingClientRect().bottom < innerHeight";
    chromium.resize(390);
    chromium.until(first);
    let text = chromium.evaluate("document.querySelector('#errors tr').textContent");
    assert_eq!(text, "Message failed: bare line ends+1717");
    // A telephone's screen is about as high as two of its widths.
    chromium.open(&format!("http://{admin}/"));
    until_received(&mut chromium, 20);
    let height = chromium.evaluate("document.documentElement.scrollHeight");
    assert!(height.as_u64().unwrap() <= 3 * 844, "{height}");
    chromium.resize(1280);
    chromium.until(first);
}

#[test]
fn the_page_reckons_as_it_should() {
    let (_serve, admin) = start_server(&["--deliver=discard:"]);
    let Some(mut chromium) = open_page(admin) else {
        return;
    };
    let text = r##"'# HELP a A.\n# TYPE a counter\na_total{x="1\\"}\\n",y="2"} 7\nb 1.5e3\nc_bucket{le="0.1"} 3\nc_bucket{le="+Inf"} 5\n# EOF\n'"##;
    // A point of a sample, after one of the same server at second 1.
    let point = |sample: &str, restarted: bool| {
        format!(
            r#"(({{ gained, gap, seconds, processing }}) => [[...gained], gap, seconds, processing])(makePoint(
                ['a', 'b', 'processing{{le="2"}}'].map((name) => seriesOf(name, [1, 2, Infinity])), {sample},
                [1, 2, Infinity], {{ time: 1 }}, {restarted}))"#
        )
    };
    let cases = [
        (
            format!("parseMetrics({text}).map((one) => one.value)"),
            "[7,1500,3,5]",
        ),
        (
            format!("parseMetrics({text})[0].labels"),
            r#"{"x":"1\"}\n","y":"2"}"#,
        ),
        ("quantile([1, 2, 4], [0, 10, 10], 0.5)".into(), "2"),
        ("quantile([1, 2, 4], [0, 10, 10], 0.75)".into(), "3"),
        // Where in the first bucket, nobody knows.
        ("quantile([1, 2, 4], [10, 0, 0], 0.5)".into(), "1"),
        (
            "[0.00001, 0.00002, Infinity, null].map((value) => sayQuantile([0.00001, 5, Infinity], value))".into(),
            r#"["< 10 µs","20 µs","> 5 s","–"]"#,
        ),
        (
            "quantile([1, 2, Infinity], [1, 0, 9], 0.99) === Infinity".into(),
            "true",
        ),
        ("quantile([1, 2], [0, 0], 0.5)".into(), "null"),
        (
            point("[7, 3000, 0, 5, 2, 4]", false),
            r#"[[["a",5]],false,2,[0,4,0]]"#,
        ),
        (point("[8, 3000]", false), "[[],false,2,[0,0,0]]"),
        // The first sample of another process, or a process that was suspended, or a clock that was
        // set back.
        (
            point("[1, 9000, 1, 5]", true),
            r#"[[["b",5]],true,2,[0,0,0]]"#,
        ),
        (point("[9, 60000]", false), "[[],true,59,[0,0,0]]"),
        (point("[9, 500]", false), "[[],true,-0.5,[0,0,0]]"),
        (
            "[0, 0.99996, 0.5, 1].map((value) => say('percent', value))".into(),
            r#"["0.00%","99.99%","50.00%","100%"]"#,
        ),
        (
            "[0, 2.25, 1234.5].map((value) => say('rate', value))".into(),
            r#"["0 /s","2.3 /s","1,235 /s"]"#,
        ),
        (
            "[50, 12.5, 250].map((value) => sayTick('rate', value))".into(),
            r#"["50 /s","12.5 /s","250 /s"]"#,
        ),
        ("ticks(35, 3, false)".into(), "[10,20,30]"),
        ("ticks(6, 3, false, true)".into(), "[2,4,6]"),
        (
            "[0, 999, 1536, 5 * 2 ** 30].map((value) => say('bytes', value))".into(),
            r#"["0 B","999 B","1.50 KiB","5 GiB"]"#,
        ),
        (
            "[0.00042, 0.0131, 2.5].map((value) => say('duration', value))".into(),
            r#"["420 µs","13.1 ms","2.50 s"]"#,
        ),
        (
            "[0.0001, 0.0025, 0.5, 5].map(sayBound)".into(),
            r#"["100 µs","2.5 ms","500 ms","5 s"]"#,
        ),
        (
            "[0, 59, 3600, 90061].map(span)".into(),
            r#"["0 s","59 s","1 h","1 d 1 h"]"#,
        ),
    ];
    for (expression, expected) in cases {
        let expected: Value = serde_json::from_str(expected).unwrap();
        let got = chromium.evaluate(&format!("JSON.stringify({expression})"));
        let got: Value = serde_json::from_str(got.as_str().unwrap()).unwrap();
        assert!(same(&got, &expected), "{expression}: {got}, not {expected}");
    }
}

/// JSON values, numbers by their value.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        _ => a == b,
    }
}
