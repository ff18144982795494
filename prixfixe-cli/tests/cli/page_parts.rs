//! The parts of the status page that a plain server does not have, in a real browser.

use std::fs;

use crate::harness::Client;
use crate::page::{assert_fits, open_page, start_server};

/// Where mail goes, and what the disk has left: one target is down, and the disk has less than the
/// least.
#[test]
fn the_page_shows_targets_free_space_and_the_queue_at_every_width() {
    let directory = tempfile::TempDir::new().unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let next_hop = closed.local_addr().unwrap();
    drop(closed);
    let config = directory.path().join("mail.toml");
    let text = format!(
        "[delivery]\nmin-free = \"1TiB\"\n\
         [[target]]\nname = \"a-next-hop-with-quite-a-long-name\"\nurl = \"lmtp:{next_hop}\"\n\
         [[target]]\nname = \"archive\"\nurl = \"maildir:mail\"\n\
         [[route]]\nrecipients = [\"ann@here.example\"]\nto = [\"a-next-hop-with-quite-a-long-name\"]\n\
         [[route]]\nto = [\"archive\"]\n"
    );
    fs::write(&config, text).unwrap();
    let (serve, admin) = start_server(&["--config", config.to_str().unwrap()]);
    let Some(mut chromium) = open_page(admin) else {
        return;
    };
    let mut client = Client::greeted(&serve);
    client.ask("EHLO client.example", "250 ");
    client.ask("MAIL FROM:<>", "");
    client.ask("RCPT TO:<ann@here.example>", "");
    client.ask("QUIT", "221 ");
    let row = |name: &str| {
        format!(
            "[...document.querySelectorAll('#targets tbody tr')].find((row) => row.cells[0].textContent === '{name}')"
        )
    };
    chromium.until("!document.getElementById('targets-part').hidden");
    for width in [390, 768, 1280] {
        chromium.resize(width);
        assert_fits(&mut chromium);
        for name in ["a-next-hop-with-quite-a-long-name", "archive"] {
            let cell = format!("{}.cells[0].getBoundingClientRect()", row(name));
            chromium.until(&format!("{cell}.width > 0 && {cell}.right <= innerWidth"));
        }
    }
    // The disk of the archive: what is shown is what the server says, in units.
    chromium.until("document.querySelectorAll('#storage li').length === 1");
    let shown = chromium.evaluate("document.getElementById('storage').textContent");
    let shown = shown.as_str().unwrap();
    let path = serve.directory.path().join("mail");
    assert!(shown.contains(path.to_str().unwrap()), "{shown}");
    assert!(shown.contains("mail is refused below 1 TiB"), "{shown}");
    chromium.until("kept.status.storage[0].short");
    let free = "say('bytes', kept.status.storage[0].free_bytes)";
    chromium.until(&format!(
        "document.querySelector('#storage b').textContent.startsWith({free})"
    ));
    for class in [
        "document.getElementById('glance-free').className",
        "document.querySelector('#storage b').className",
    ] {
        assert_eq!(chromium.evaluate(class), "bad", "{class}");
    }
    let error = chromium.evaluate(&format!("{}.cells[6].textContent", row("archive")));
    let error = error.as_str().unwrap();
    assert!(error.contains("TiB are needed"), "{error}");

    // A server with a spool has these metrics.
    chromium.evaluate(
        r#"showQueue(new Metrics('smtp_spool_messages{state="waiting"} 3\nsmtp_spool_messages{state="failed"} 2\nsmtp_spool_bytes 2048\nsmtp_spool_oldest_age_seconds 90\n'))"#,
    );
    let queue = "[...document.querySelectorAll('#queue div')].map((one) => [one.children[0].textContent, one.children[1].textContent, one.className].join(' ').trim()).join()";
    assert_eq!(
        chromium.evaluate(queue),
        "waiting 3,failed 2 bad,bytes 2 KiB,oldest 1 min 30 s"
    );
    assert_eq!(
        chromium.evaluate("document.getElementById('queue-part').hidden"),
        false
    );
    chromium.evaluate("showQueue(new Metrics(''))");
    assert_eq!(
        chromium.evaluate("document.getElementById('queue-part').hidden"),
        true
    );
}
