//! Which certificate a client gets.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::certificate::Certificate;

/// Chooses by the name that the client asks for (RFC 6066 section 3): the certificate with that
/// name, else one with a wildcard for it, else the default. Where several will do (an ECDSA and an
/// RSA one for the same name), the first that the client can verify.
pub(crate) struct Resolver {
    by_name: HashMap<String, Vec<Arc<CertifiedKey>>>,
    default: Vec<Arc<CertifiedKey>>,
}

impl Resolver {
    /// The first certificate is the default, with those that share a name with it.
    pub(crate) fn new(certificates: &[Certificate]) -> Self {
        let mut by_name: HashMap<String, Vec<Arc<CertifiedKey>>> = HashMap::new();
        for certificate in certificates {
            for name in &certificate.info.names {
                by_name
                    .entry(name.clone())
                    .or_default()
                    .push(Arc::clone(&certificate.key));
            }
        }
        let first = certificates.first();
        let default = certificates
            .iter()
            .enumerate()
            .filter(|(index, certificate)| {
                let shared = |name| first.is_some_and(|first| first.info.names.contains(name));
                *index == 0 || certificate.info.names.iter().any(shared)
            })
            .map(|(_, certificate)| Arc::clone(&certificate.key))
            .collect();
        Self { by_name, default }
    }

    /// The certificates for a name in lower case.
    fn candidates(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        name.and_then(|name| {
            self.by_name.get(name).or_else(|| {
                // A wildcard stands for exactly one label (RFC 9525 section 6.3).
                let (_, parent) = name.split_once('.')?;
                self.by_name.get(&format!("*.{parent}"))
            })
        })
        .unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let candidates = self.candidates(name.as_deref());
        let chosen = candidates
            .iter()
            .find(|candidate| {
                candidate
                    .key
                    .choose_scheme(hello.signature_schemes())
                    .is_some()
            })
            .or(candidates.first())
            .cloned();
        ASKED_FOR.set(name);
        chosen
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

thread_local! {
    /// The name in the ClientHello that was processed last on this thread. rustls's unbuffered
    /// connection doesn't give it; whoever lets a connection process a ClientHello takes the name
    /// from here right after.
    static ASKED_FOR: Cell<Option<String>> = const { Cell::new(None) };
}

/// Takes the name in the ClientHello that was processed just now on this thread.
pub(crate) fn take_server_name() -> Option<String> {
    ASKED_FOR.take()
}
