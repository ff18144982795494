//! Small files that are read again when they change.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::WebhookError;
use crate::text_file;

/// How often it is looked whether a file has changed.
const INTERVAL: Duration = Duration::from_secs(1);

/// No file of secrets or headers is longer.
const MAX_SIZE: u64 = 64 << 10;

/// What stands in some files. A change that cannot be used is logged, and what was known stays.
pub(super) struct Watched<T> {
    paths: Vec<PathBuf>,
    parse: fn(&[String]) -> Result<T, String>,
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Arc<T>,
    contents: Vec<String>,
    looked: Instant,
    /// What was complained of.
    complaint: Option<String>,
}

impl<T> Watched<T> {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// The file that cannot be read, or what is wrong in it.
    pub(super) fn open(
        paths: Vec<PathBuf>,
        parse: fn(&[String]) -> Result<T, String>,
    ) -> Result<Self, WebhookError> {
        let (value, contents) = load(&paths, parse).map_err(WebhookError::File)?;
        Ok(Self {
            paths,
            parse,
            state: Mutex::new(State {
                value: Arc::new(value),
                contents,
                looked: Instant::now(),
                complaint: None,
            }),
        })
    }

    /// What stands there now. The files are small and local: reading them is no wait.
    pub(super) fn get(&self) -> Arc<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.paths.is_empty() && state.looked.elapsed() >= INTERVAL {
            state.looked = Instant::now();
            self.look(&mut state);
        }
        Arc::clone(&state.value)
    }

    fn look(&self, state: &mut State<T>) {
        match load(&self.paths, self.parse) {
            Ok((_, contents)) if contents == state.contents => state.complaint = None,
            Ok((value, contents)) => {
                state.value = Arc::new(value);
                state.contents = contents;
                state.complaint = None;
                for path in &self.paths {
                    tracing::info!(file = %path.display(), "file read again");
                }
            }
            Err(complaint) => {
                if state.complaint.as_ref() != Some(&complaint) {
                    tracing::error!(error = %complaint, "file not read again, what was known stays");
                }
                state.complaint = Some(complaint);
            }
        }
    }
}

fn load<T>(
    paths: &[PathBuf],
    parse: fn(&[String]) -> Result<T, String>,
) -> Result<(T, Vec<String>), String> {
    let read = |path: &PathBuf| {
        text_file::read(path, MAX_SIZE).map_err(|error| format!("{}: {error}", path.display()))
    };
    let contents = paths.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let value = parse(&contents).map_err(|error| match paths {
        [path] => format!("{}: {error}", path.display()),
        _ => error,
    })?;
    Ok((value, contents))
}

/// The lines that say something.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    text_file::lines(text).map(|(_, line)| line)
}
