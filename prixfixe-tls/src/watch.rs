//! Reloading by itself.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use crate::source::{DAY, Digest, digest};
use crate::{Reloaded, TlsConfig, TlsError};

/// Watches the files of a [`TlsConfig`] until it is dropped. Made by [`TlsConfig::watch`].
#[derive(Debug)]
pub struct Watch {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub(crate) fn start(config: TlsConfig, interval: Duration) -> io::Result<Self> {
        if interval.is_zero() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the interval is zero",
            ));
        }
        let (stop, stopped) = mpsc::channel();
        let mut watcher = Watcher::new(config);
        let thread = thread::Builder::new()
            .name("tls-watch".to_owned())
            .spawn(move || {
                let mut warned = Instant::now();
                while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                    if let Some(outcome) = watcher.look() {
                        log(&watcher.config, &outcome);
                    }
                    if warned.elapsed() >= DAY {
                        warned = Instant::now();
                        watcher
                            .config
                            .generation()
                            .warn_of_expiry(SystemTime::now());
                    }
                }
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It can only have panicked, which the panic hook has told already.
            let _ = thread.join();
        }
    }
}

/// Looks at content, not at times and inodes: certbot replaces symlinks, others write in place.
struct Watcher {
    config: TlsConfig,
    /// What was seen last: content, or why there was none.
    seen: Digest,
    /// What was tried last. Content that is bad is tried, and complained of, once.
    tried: Digest,
}

impl Watcher {
    fn new(config: TlsConfig) -> Self {
        let current = config.generation().digest;
        Self {
            config,
            seen: current,
            tried: current,
        }
    }

    /// Reloads if the content is new and is the same as at the last look.
    fn look(&mut self) -> Option<Result<Reloaded, TlsError>> {
        let contents = self.config.read();
        let now = match &contents {
            Ok(contents) => contents.digest,
            Err(error) => digest(error.to_string().as_bytes()),
        };
        let settled = std::mem::replace(&mut self.seen, now) == now;
        if !settled || self.tried == now {
            return None;
        }
        self.tried = now;
        match contents.and_then(|contents| self.config.adopt(&contents)) {
            // A reload by hand was faster, or the old content is back.
            Ok(Reloaded::Unchanged) => None,
            outcome => Some(outcome),
        }
    }
}

fn log(config: &TlsConfig, outcome: &Result<Reloaded, TlsError>) {
    match outcome {
        Ok(_) => {
            for certificate in config.certificates() {
                tracing::info!(
                    certificate = certificate.source,
                    fingerprint = certificate.fingerprint,
                    "certificate reloaded"
                );
            }
        }
        Err(error) => tracing::error!(%error, "certificates not reloaded, the old ones stay"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use prixfixe_test_support::SelfSigned;

    use super::*;
    use crate::CertificateSource;

    fn write_pair(directory: &Path, name: &str) {
        SelfSigned::new(name).install(directory);
    }

    fn watcher(directory: &Path) -> Watcher {
        write_pair(directory, "old.example");
        let source = CertificateSource::Files {
            cert: directory.join("cert.pem"),
            key: directory.join("key.pem"),
            password_file: None,
        };
        Watcher::new(TlsConfig::builder().certificate(source).build().unwrap())
    }

    fn names(watcher: &Watcher) -> Vec<String> {
        watcher
            .config
            .certificates()
            .into_iter()
            .flat_map(|certificate| certificate.names)
            .collect()
    }

    #[test]
    fn new_content_is_taken_once_it_has_settled() {
        let directory = tempfile::tempdir().unwrap();
        let mut watcher = watcher(directory.path());
        assert!(watcher.look().is_none(), "nothing has changed");
        write_pair(directory.path(), "new.example");
        assert!(watcher.look().is_none(), "it may be half written");
        assert!(matches!(watcher.look(), Some(Ok(Reloaded::Changed))));
        assert_eq!(names(&watcher), ["new.example"]);
        assert!(watcher.look().is_none());
    }

    #[test]
    fn bad_content_is_told_once_and_the_old_stays() {
        let directory = tempfile::tempdir().unwrap();
        let mut watcher = watcher(directory.path());
        fs::write(directory.path().join("key.pem"), "no key").unwrap();
        assert!(watcher.look().is_none());
        assert!(matches!(watcher.look(), Some(Err(TlsError::NoKey { .. }))));
        assert!(watcher.look().is_none());
        fs::remove_file(directory.path().join("key.pem")).unwrap();
        assert!(watcher.look().is_none());
        assert!(matches!(watcher.look(), Some(Err(TlsError::Read { .. }))));
        assert!(watcher.look().is_none());
        assert_eq!(names(&watcher), ["old.example"]);
        write_pair(directory.path(), "new.example");
        watcher.look();
        watcher.look();
        assert_eq!(names(&watcher), ["new.example"]);
    }

    #[test]
    #[cfg(unix)]
    fn a_replaced_symlink_is_new_content() {
        let directory = tempfile::tempdir().unwrap();
        let (old, new) = (directory.path().join("1"), directory.path().join("2"));
        let live = directory.path().join("live");
        fs::create_dir(&old).unwrap();
        fs::create_dir(&new).unwrap();
        std::os::unix::fs::symlink(&old, &live).unwrap();
        let mut watcher = watcher(&live);
        write_pair(&new, "new.example");
        fs::remove_file(&live).unwrap();
        std::os::unix::fs::symlink(&new, &live).unwrap();
        watcher.look();
        assert!(matches!(watcher.look(), Some(Ok(Reloaded::Changed))));
        assert_eq!(names(&watcher), ["new.example"]);
    }

    #[test]
    fn the_thread_reloads_and_ends_with_its_handle() {
        let directory = tempfile::tempdir().unwrap();
        let config = watcher(directory.path()).config;
        let watch = config.watch(Duration::from_millis(1)).unwrap();
        write_pair(directory.path(), "new.example");
        let patience = Instant::now() + Duration::from_secs(30);
        while config
            .certificates()
            .iter()
            .any(|certificate| certificate.names == ["old.example"])
        {
            assert!(
                Instant::now() < patience,
                "the thread didn't take the new certificate"
            );
            thread::yield_now();
        }
        drop(watch);
    }

    #[test]
    fn no_interval_is_no_watch() {
        let directory = tempfile::tempdir().unwrap();
        let config = watcher(directory.path()).config;
        assert!(config.watch(Duration::ZERO).is_err());
    }
}
