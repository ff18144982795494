//! What DATA carries, told in the slow, obvious way (RFC 5321 sections 4.1.1.4 and 4.5.2).

/// What a text means as the body of DATA.
#[derive(Debug, PartialEq, Eq)]
pub struct Meaning {
    /// Without dots; `None` if there is a bare CR or LF and it is not repaired.
    pub content: Option<Vec<u8>>,
    /// Its end was among the text.
    pub ended: bool,
    /// What stands behind the end.
    pub rest: Vec<u8>,
}

/// The meaning of what follows the command DATA.
///
/// The end is the first CR LF . CR LF, of which the first CR LF may be that of the command before;
/// each line of what stands before it loses a dot at its start. Then each CR and LF that stands
/// alone becomes CR LF, if that is wanted.
pub fn meaning(text: &[u8], repairs: bool) -> Meaning {
    let with_start = [b"\r\n", text].concat();
    let end = with_start.windows(5).position(|five| five == b"\r\n.\r\n");
    let (body, rest) = match end {
        Some(end) => (&with_start[2..(end + 2).max(2)], &with_start[end + 5..]),
        None => (&with_start[2..], &b""[..]),
    };
    // Without an end, what may yet become one, or a whole line end, has not been told to anyone.
    let open = |at: usize| end.is_none() && at + 1 == body.len();
    let is_bare = |at: usize| match body[at] {
        b'\r' => body.get(at + 1) != Some(&b'\n') && !open(at),
        b'\n' => at == 0 || body[at - 1] != b'\r',
        _ => false,
    };
    let is_line_start = |at: usize| at == 0 || body[..at].ends_with(b"\r\n");
    let mut content = Vec::new();
    for (at, &byte) in body.iter().enumerate() {
        let may_be_the_end =
            byte == b'\r' && open(at) && body[..at].ends_with(b".") && is_line_start(at - 1);
        if is_bare(at) && repairs {
            content.extend_from_slice(b"\r\n");
        } else if !(byte == b'.' && is_line_start(at) || may_be_the_end) {
            content.push(byte);
        }
    }
    let sound = repairs || !(0..body.len()).any(is_bare);
    Meaning {
        content: sound.then_some(content),
        ended: end.is_some(),
        rest: rest.to_vec(),
    }
}

/// A content with one more dot before each line that begins with one, and without its end.
pub fn stuffed(content: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(content.len() + content.len() / 64 + 8);
    let mut is_line_start = true;
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        if is_line_start && line.starts_with(b".") {
            wire.push(b'.');
        }
        wire.extend_from_slice(line);
        // A line end is CR LF; an LF alone ends no line.
        is_line_start = line.ends_with(b"\r\n");
    }
    wire
}

/// A content as it is sent after the 354: [`stuffed`], with its last line ended and the end behind
/// it.
pub fn data(content: &[u8]) -> Vec<u8> {
    let mut wire = stuffed(content);
    if !(content.is_empty() || content.ends_with(b"\r\n")) {
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b".\r\n");
    wire
}

/// All texts of so many bytes over `. CR LF x`: every case that stuffing and its undoing have.
pub fn texts(length: u32) -> impl Iterator<Item = Vec<u8>> {
    (0..4_usize.pow(length)).map(move |number| {
        (0..length)
            .map(|place| b".\r\nx"[number >> (2 * place) & 3])
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stuffed_means_what_it_was() {
        for content in (0..=7).flat_map(texts) {
            let Meaning {
                content: Some(whole),
                ..
            } = meaning(&data(&content), true)
            else {
                panic!("what is repaired has a meaning");
            };
            let again = meaning(&data(&whole), false);
            assert!(again.ended && again.rest.is_empty(), "{content:?}");
            assert_eq!(again.content, Some(whole), "{content:?}");
        }
    }

    #[test]
    fn dots_and_ends_by_example() {
        assert_eq!(data(b""), b".\r\n");
        assert_eq!(data(b".\r\n..a"), b"..\r\n...a\r\n.\r\n");
        assert_eq!(stuffed(b"a\n.b"), b"a\n.b");
        let read = meaning(b"..a\r\n.\r\nQUIT\r\n", false);
        assert_eq!(read.content.as_deref(), Some(&b".a\r\n"[..]));
        assert_eq!(read.rest, b"QUIT\r\n");
        assert_eq!(meaning(b"a\nb\r\n.\r\n", false).content, None);
    }
}
