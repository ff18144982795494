//! The channel binding `tls-exporter` (RFC 9266).
//!
//! rustls's unbuffered connection exports nothing. But it tells the exporter secret to a
//! [`KeyLog`], and of that the binding is two steps of HKDF (RFC 8446 section 7.5). No other secret
//! is looked at.

use std::cell::Cell;

use rustls::crypto::tls13::{HkdfExpander, OkmBlock};
use rustls::{KeyLog, SupportedCipherSuite};

/// RFC 9266 section 2.
const LABEL: &[u8] = b"EXPORTER-Channel-Binding";
const EXPORTER_SECRET: &str = "EXPORTER_SECRET";

thread_local! {
    /// That of the handshake that was processed last on this thread. It is wiped when it is
    /// dropped.
    static SECRET: Cell<Option<OkmBlock>> = const { Cell::new(None) };
}

/// Keeps the exporter secret for whoever lets a connection take a step of its handshake.
#[derive(Debug)]
pub(crate) struct ExporterSecret;

impl KeyLog for ExporterSecret {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        if label == EXPORTER_SECRET && secret.len() <= OkmBlock::MAX_LEN {
            SECRET.set(Some(OkmBlock::new(secret)));
        }
    }

    fn will_log(&self, label: &str) -> bool {
        label == EXPORTER_SECRET
    }
}

/// Takes the exporter secret of the handshake that was processed just now on this thread.
pub(crate) fn take_secret() -> Option<OkmBlock> {
    SECRET.take()
}

/// The binding of the connection with that secret.
pub(crate) fn channel_binding(suite: SupportedCipherSuite, secret: &OkmBlock) -> Option<[u8; 32]> {
    let suite = suite.tls13()?;
    // Of nothing twice: no messages were hashed, and the context is empty.
    let empty = suite.common.hash_provider.hash(b"");
    let secret = suite.hkdf_provider.expander_for_okm(secret);
    let derived = expand_block(secret.as_ref(), LABEL, empty.as_ref())?;
    let derived = suite.hkdf_provider.expander_for_okm(&derived);
    let mut binding = [0; 32];
    expand_label(derived.as_ref(), b"exporter", empty.as_ref(), &mut binding)?;
    Some(binding)
}

/// `Derive-Secret` of RFC 8446 section 7.1.
fn expand_block(expander: &dyn HkdfExpander, label: &[u8], context: &[u8]) -> Option<OkmBlock> {
    let mut block = [0; OkmBlock::MAX_LEN];
    let block = block.get_mut(..expander.hash_len())?;
    expand_label(expander, label, context, block)?;
    Some(OkmBlock::new(block))
}

/// `HKDF-Expand-Label` of RFC 8446 section 7.1.
fn expand_label(
    expander: &dyn HkdfExpander,
    label: &[u8],
    context: &[u8],
    output: &mut [u8],
) -> Option<()> {
    const PREFIX: &[u8] = b"tls13 ";
    let length = u16::try_from(output.len()).ok()?.to_be_bytes();
    let label_length = [u8::try_from(PREFIX.len() + label.len()).ok()?];
    let context_length = [u8::try_from(context.len()).ok()?];
    let info = [
        &length[..],
        &label_length,
        PREFIX,
        label,
        &context_length,
        context,
    ];
    expander.expand_slice(&info, output).ok()
}
