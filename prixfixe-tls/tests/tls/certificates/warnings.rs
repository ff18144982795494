//! What is odd but will do.

use super::*;

/// What is logged while `action` runs.
fn logged(action: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    prixfixe_test_support::listening(subscriber, action);
    let bytes = log.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

fn warnings(directory: &Directory) -> String {
    logged(|| drop(directory.build().unwrap()))
}

#[test]
fn expiry_within_30_days_is_a_warning() {
    let authority = Authority::new();
    for (days, warned) in [(29, true), (32, false)] {
        let directory = Directory::new(&authority.issue_valid(&["mx.example.com"], -1, days));
        private(&directory.path("key.pem"));
        let log = warnings(&directory);
        assert_eq!(log.contains("certificate expires soon"), warned, "{log}");
        assert_eq!(log.contains("days_left=28"), warned, "{log}");
        assert_eq!(log.contains("cert.pem"), warned, "{log}");
    }
}

#[cfg(unix)]
fn private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o640)).unwrap();
}

#[cfg(not(unix))]
fn private(_: &Path) {}

#[test]
#[cfg(unix)]
fn a_key_that_everyone_can_read_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let directory = Directory::good();
    fs::set_permissions(directory.path("key.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    let log = warnings(&directory);
    assert!(
        log.contains("private key can be read by everyone") && log.contains("key.pem"),
        "{log}"
    );
    private(&directory.path("key.pem"));
    assert_eq!(warnings(&directory), "");
}

#[test]
fn a_chain_out_of_order_is_a_warning() {
    let directory = Directory::good();
    let stranger = Authority::new().issue_valid(&[], -20, -10).cert;
    let good = fs::read_to_string(directory.path("cert.pem")).unwrap();
    directory.write("cert.pem", format!("{good}{stranger}"));
    let log = warnings(&directory);
    assert!(
        log.contains("chain is out of order") && log.contains("position=2"),
        "{log}"
    );
    assert!(log.contains("chain has an expired certificate"), "{log}");
}
