//! A file of users.

mod hash;
mod line;
mod table;
mod watch;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, mpsc};
use std::thread;

use prixfixe_server::{
    Authenticating, Authenticator, Client, Identity, Login, Mechanism, Reply, UserPassword,
};
use zeroize::Zeroizing;

use self::hash::Hash;
pub use self::line::{LineError, users_line};
use self::table::{BadLine, Table};
use self::watch::Seen;
use crate::exchange::{by_certificate, scram};
use crate::mechanism::prepare_name;
use crate::mechanism::scram::{Verifier, hmac};
use crate::work::{Origin, Workers};

/// The users in a file. Its lines are `NAME:HASH`; empty ones, and those that begin with `#`, are
/// comments. A hash is
///
/// - `{SCRAM-SHA-256}COUNT,SALT,STOREDKEY,SERVERKEY`, a [`Verifier`], or
/// - `$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH`, of at most 256 MiB and 16 passes.
///
/// A bad line is named with its number in a warning, and the others count. The file is read again
/// within two seconds of a change; while it cannot be read, the users stay as they were. Replace it
/// by a rename, or a login in between may find half of it.
///
/// SCRAM-SHA-256, and -PLUS where the connection can be bound, is offered while there is a
/// verifier; PLAIN and LOGIN always; EXTERNAL to clients whose certificate was verified, and its
/// name must be in the file.
///
/// Nobody learns which names there are: one that there is not costs what most others cost.
/// Passwords are hashed by one thread for each core, at most 8, after at most 256 others, of which
/// each client has its turn; a login too many is `454 4.7.0`, of the client with the most of them.
///
/// ```no_run
/// use prixfixe_auth::Users;
/// use prixfixe_server::{AuthMode, Server};
/// # fn example(handler: impl prixfixe_server::Handler) -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::builder()
///     .auth(AuthMode::Require)
///     .authenticator(Users::open("users")?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Users {
    shared: Arc<Shared>,
    /// The end of it ends the thread that looks for changes.
    _ended: mpsc::Sender<()>,
}

struct Shared {
    path: PathBuf,
    table: RwLock<Arc<Table>>,
    seen: Mutex<Seen>,
    workers: Workers,
    /// What salts of nobody come from where the file has no user.
    key: Zeroizing<[u8; 32]>,
}

/// Users that were read, and that nobody looks after yet.
#[derive(Debug)]
pub struct PreparedUsers {
    path: PathBuf,
    table: Table,
    bad: Vec<BadLine>,
    seen: Seen,
}

/// The users cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// The system gives no thread or no random bytes.
    #[error("starting the threads for logins: {0}")]
    System(#[from] io::Error),
}

impl Users {
    /// Reads the file, and begins to look for changes of it.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or has over 16 MiB.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, OpenError> {
        Self::prepare(path)?.start()
    }

    /// Reads the file. It starts no thread yet: for a process that is to become another user
    /// before.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or has over 16 MiB.
    pub fn prepare(path: impl Into<PathBuf>) -> Result<PreparedUsers, OpenError> {
        let path = path.into();
        let mut seen = Seen::default();
        // What was never seen has another content.
        let found = watch::read(&path, &mut seen)?;
        let (table, bad) = found.unwrap_or_else(|| Table::parse(b""));
        Ok(PreparedUsers {
            path,
            table,
            bad,
            seen,
        })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Looks now whether the file has changed, as happens each second by itself.
    pub fn refresh(&self) {
        watch::refresh(&self.shared);
    }

    async fn check(&self, mut login: Login<'_>) -> Result<Identity, Reply> {
        let mechanism = login.mechanism().clone();
        let name = if mechanism == Mechanism::SCRAM_SHA_256
            || mechanism == Mechanism::SCRAM_SHA_256_PLUS
        {
            scram(&mut login, |name| self.shared.verifier(name)).await?
        } else if mechanism == Mechanism::EXTERNAL {
            let name = by_certificate(&mut login).await?;
            self.shared.known(&name)?
        } else {
            let origin = Origin::of(login.client().peer().ip());
            let given = login.password().await?;
            self.check_password(origin, given).await?
        };
        Ok(Identity::new(name))
    }

    async fn check_password(&self, origin: Origin, given: UserPassword) -> Result<String, Reply> {
        let shared = Arc::clone(&self.shared);
        let checked = self.shared.workers.run(origin, move || {
            let name = prepare_name(given.user());
            let name = name.unwrap_or_else(|_| given.user().into());
            let matches = shared.hash(&name).matches(given.password());
            matches.then(|| name.into_owned())
        });
        match checked.await {
            Ok(Some(name)) => Ok(name),
            Ok(None) => Err(Reply::BAD_CREDENTIALS),
            Err(_) => Err(Reply::LOGIN_UNAVAILABLE),
        }
    }
}

impl PreparedUsers {
    /// What is wrong with the file, a line each, up to 20. [`start`](Self::start) logs it.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let path = self.path.display();
        let of_line = |bad: &BadLine| format!("{path}:{}: {}", bad.number, bad.problem);
        let bad = self.bad.iter().take(watch::MAX_NAMED).map(of_line);
        bad.collect()
    }

    /// Begins to look for changes of the file.
    ///
    /// # Errors
    ///
    /// When the system gives no thread or no random bytes.
    pub fn start(self) -> Result<Users, OpenError> {
        watch::tell(&self.path, &self.table, &self.bad);
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(key.as_mut()).map_err(io::Error::from)?;
        let shared = Arc::new(Shared {
            path: self.path,
            table: RwLock::new(Arc::new(self.table)),
            seen: Mutex::new(self.seen),
            workers: Workers::start()?,
            key,
        });
        let (ended, wait) = mpsc::channel();
        let watched = Arc::downgrade(&shared);
        let thread = thread::Builder::new().name("prixfixe-users".to_owned());
        thread.spawn(move || watch::watch(&watched, &wait))?;
        Ok(Users {
            shared,
            _ended: ended,
        })
    }
}

impl Authenticator for Users {
    fn mechanisms(&self, client: &Client) -> Vec<Mechanism> {
        let tls = client.tls();
        let has_scram = self.shared.table().has_scram();
        let is_bound = tls.is_some_and(|tls| tls.channel_binding.is_some());
        let has_certificate = tls.is_some_and(|tls| tls.client_name.is_some());
        [
            (has_scram && is_bound, Mechanism::SCRAM_SHA_256_PLUS),
            (has_scram, Mechanism::SCRAM_SHA_256),
            (true, Mechanism::PLAIN),
            (true, Mechanism::LOGIN),
            (has_certificate, Mechanism::EXTERNAL),
        ]
        .into_iter()
        .filter_map(|(is_offered, mechanism)| is_offered.then_some(mechanism))
        .collect()
    }

    fn authenticate<'a>(&'a self, login: Login<'a>) -> Authenticating<'a> {
        Box::pin(self.check(login))
    }
}

impl Shared {
    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, table: Table) {
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }

    /// What is kept of this user's password, or what looks and costs alike.
    fn hash(&self, name: &str) -> Hash {
        let table = self.table();
        let nobody = Hash::unmatched(table.usual(), self.salt(&table, name));
        table.get(name).cloned().unwrap_or(nobody)
    }

    fn verifier(&self, name: &str) -> Verifier {
        let table = self.table();
        let nobody = Verifier::unmatched(self.salt(&table, name), table.usual_iterations());
        match table.get(name) {
            Some(Hash::Scram(verifier)) => verifier.clone(),
            Some(Hash::Argon2(_)) | None => nobody,
        }
    }

    fn known(&self, name: &str) -> Result<String, Reply> {
        let name = prepare_name(name).map_err(|_| Reply::BAD_CREDENTIALS)?;
        match self.table().get(&name) {
            Some(_) => Ok(name.into_owned()),
            None => Err(Reply::BAD_CREDENTIALS),
        }
    }

    fn salt(&self, table: &Table, name: &str) -> [u8; 16] {
        let key = table.nobody().unwrap_or(&self.key);
        let mut salt = [0; 16];
        for (salt, byte) in salt.iter_mut().zip(hmac(key, name.as_bytes())) {
            *salt = byte;
        }
        salt
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("path", &self.path)
            .field("workers", &self.workers)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
