//! `--transport auto` where tokio cannot be set up.

use std::sync::Arc;

use prixfixe_test_support::has;

use crate::support::Prixfixe;

#[test]
fn without_an_event_queue_for_tokio_it_says_so_and_receives_mail_over_raw() {
    if !has("strace") || !has("swaks") {
        return;
    }
    let strace = [
        "strace",
        "-D",
        "-f",
        "-o",
        "/dev/null",
        "-e",
        "inject=epoll_create1:error=ENOSYS:when=1",
    ];
    let folder = Arc::new(tempfile::tempdir().expect("a folder"));
    let server = Prixfixe::start_in(folder, &strace, &["--transport", "auto", "--threads", "1"]);
    let log = server.log.lock().expect("no panic under it").join("\n");
    assert!(log.contains("raw") && log.contains("WARN"), "{log}");
    prixfixe_test_support::run(std::process::Command::new("swaks").args([
        "--server",
        &server.address().to_string(),
        "--from",
        "ann@example.com",
        "--to",
        "bob@example.com",
        "--silent",
        "2",
    ]));
    assert_eq!(server.mail().len(), 1);
}
