//! Reads replies, and takes none that is not well-formed (RFC 5321 section 4.2).

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    /// Of its last line; empty where there is none.
    pub enhanced: String,
    pub lines: usize,
}

#[derive(Debug, Default)]
pub struct Replies {
    bytes: Vec<u8>,
    at: usize,
    /// The code and the lines so far of one with several.
    open: Option<(u16, usize)>,
}

impl Replies {
    pub fn extend(&mut self, bytes: &[u8]) {
        if self.at == self.bytes.len() {
            self.bytes.clear();
            self.at = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Something incomplete was received.
    pub fn has_rest(&self) -> bool {
        self.at < self.bytes.len() || self.open.is_some()
    }

    /// The next reply. An error: what comes is none.
    pub fn next(&mut self) -> Result<Option<Reply>, String> {
        loop {
            let rest = &self.bytes[self.at..];
            let Some(end) = memchr::memchr(b'\n', rest) else {
                return if rest.len() > 1000 {
                    Err(String::from("a line of a reply does not end"))
                } else {
                    Ok(None)
                };
            };
            let line = &rest[..=end];
            self.at += end + 1;
            let shown = || format!("no line of a reply: {:?}", String::from_utf8_lossy(line));
            let text = line.strip_suffix(b"\r\n").ok_or_else(shown)?;
            if line.len() > 512
                || text.len() < 4
                || text.iter().any(|byte| !(b' '..=b'~').contains(byte))
            {
                return Err(shown());
            }
            let code: u16 = std::str::from_utf8(&text[..3])
                .ok()
                .and_then(|code| code.parse().ok())
                .ok_or_else(shown)?;
            if !(200..600).contains(&code) {
                return Err(shown());
            }
            let (first, lines) = self.open.unwrap_or((code, 0));
            if first != code {
                return Err(shown());
            }
            match text[3] {
                b'-' => self.open = Some((code, lines + 1)),
                b' ' => {
                    self.open = None;
                    let word = String::from_utf8_lossy(&text[4..]);
                    let word = word.split(' ').next().unwrap_or_default();
                    let is_status = word.len() >= 5
                        && word.split('.').count() == 3
                        && word.split('.').all(|part| {
                            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())
                        });
                    let enhanced = if is_status {
                        word.to_owned()
                    } else {
                        String::new()
                    };
                    return Ok(Some(Reply {
                        code,
                        enhanced,
                        lines: lines + 1,
                    }));
                }
                _ => return Err(shown()),
            }
        }
    }
}
