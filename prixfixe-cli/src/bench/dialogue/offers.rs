//! What the server offers in its reply to EHLO.

/// The extensions that a client makes use of (RFC 5321 section 4.1.1.1).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Offers {
    pub(super) pipelining: bool,
    pub(super) size: bool,
    pub(super) eight_bit: bool,
    pub(super) chunking: bool,
    pub(super) starttls: bool,
    /// Learned over TLS.
    pub(super) secured: bool,
}

impl Offers {
    /// Takes one line of the reply; the first, which names the server, is taken for no keyword.
    pub(super) fn learn(&mut self, line: &[u8]) {
        let keyword = line.split(|byte| *byte == b' ').next().unwrap_or_default();
        let offers = |name: &[u8]| keyword.eq_ignore_ascii_case(name);
        self.pipelining |= offers(b"PIPELINING");
        self.size |= offers(b"SIZE");
        self.eight_bit |= offers(b"8BITMIME");
        self.chunking |= offers(b"CHUNKING");
        self.starttls |= offers(b"STARTTLS");
    }
}
