//! Who logs in at a next hop.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use prixfixe_client::Credentials;

use super::options::{NextHopError, NextHopOptions};

/// A name, and the file with its password. Clones share what was read last.
#[derive(Debug, Clone)]
pub(super) struct Login(Arc<Known>);

#[derive(Debug)]
struct Known {
    username: String,
    file: PathBuf,
    last: Mutex<Credentials>,
}

/// What could ever be a password has less.
const MAX_FILE: u64 = 8192;

impl Login {
    /// Blocks while it reads the file.
    pub(super) fn new(options: &NextHopOptions) -> Result<Option<Self>, NextHopError> {
        let (username, file) = match (&options.username, &options.password_file) {
            (None, None) => return Ok(None),
            (Some(username), Some(file)) => (username.clone(), file.clone()),
            _ => return Err(NextHopError::HalfALogin),
        };
        let password = read(&file).map_err(|error| NextHopError::File {
            what: "a password",
            path: file.clone(),
            reason: error.to_string(),
        })?;
        let last = Credentials::new(username.clone(), password);
        let last = last.map_err(|_| NextHopError::Credentials)?;
        Ok(Some(Self(Arc::new(Known {
            username,
            file,
            last: Mutex::new(last),
        }))))
    }

    pub(super) fn username(&self) -> &str {
        &self.0.username
    }

    /// With the password that is in the file now; the one before where the file cannot be read.
    pub(super) async fn credentials(&self) -> Credentials {
        let known = Arc::clone(&self.0);
        // The file may be on a disk that hangs.
        let read = tokio::task::spawn_blocking(move || read(&known.file)).await;
        let read = read.unwrap_or_else(|error| Err(io::Error::other(error)));
        let fresh = read.map(|password| Credentials::new(self.0.username.clone(), password));
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        match fresh {
            Ok(Ok(fresh)) => *last = fresh,
            Ok(Err(error)) => {
                tracing::warn!(file = %self.0.file.display(), %error, "the password cannot be used; the one before is");
            }
            Err(error) => {
                tracing::warn!(file = %self.0.file.display(), %error, "the password file cannot be read; the password before is used");
            }
        }
        last.clone()
    }
}

/// The first line.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_FILE).read_to_string(&mut text)?;
    let end = text.find(['\r', '\n']).unwrap_or(text.len());
    text.truncate(end);
    match text.is_empty() {
        true => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "its first line is empty",
        )),
        false => Ok(text),
    }
}
