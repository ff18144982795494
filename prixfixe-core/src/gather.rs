//! Small pieces of a content put together, so that what each piece costs is paid once for many of
//! them.

/// A piece that grows in room that the caller lends.
#[derive(Debug)]
pub(crate) struct Gathered<'r> {
    room: &'r mut [u8],
    filled: usize,
}

/// A run that is longer is worth an event of its own, and leaves without being copied.
pub(crate) const SHORT_RUN: usize = 256;

impl<'r> Gathered<'r> {
    /// Begins with a run. `None`: it is not short, or there is hardly any room. The room is then
    /// left where it is.
    pub(crate) fn begin(run: &[u8], room: &mut &'r mut [u8]) -> Option<Self> {
        if run.len() >= SHORT_RUN || room.len() < 2 * SHORT_RUN {
            return None;
        }
        let room = std::mem::take(room);
        let mut gathered = Self { room, filled: 0 };
        gathered.push(run).then_some(gathered)
    }

    /// Appends a short run. False: it is not short, or there is no room for it.
    pub(crate) fn push(&mut self, run: &[u8]) -> bool {
        match self.room.get_mut(self.filled..self.filled + run.len()) {
            Some(place) if run.len() < SHORT_RUN => {
                place.copy_from_slice(run);
                self.filled += run.len();
                true
            }
            _ => false,
        }
    }

    /// Lets `fill` write to the next `N` octets, and say how many of them count. False: it does
    /// not, or there is no room for it.
    pub(crate) fn push_with<const N: usize>(
        &mut self,
        fill: impl FnOnce(&mut [u8; N]) -> Option<usize>,
    ) -> bool {
        let place = self.room.get_mut(self.filled..);
        let filled = place.and_then(|place| fill(place.first_chunk_mut()?));
        self.filled += filled.unwrap_or_default();
        filled.is_some()
    }

    /// All that was put together.
    pub(crate) fn into_piece(self) -> &'r [u8] {
        self.room.get(..self.filled).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_put_together_while_they_are_short_and_there_is_room() {
        let mut memory = [0; 600];
        let mut room = &mut memory[..];
        assert!(Gathered::begin(&[b'x'; SHORT_RUN], &mut room).is_none());
        let mut gathered = Gathered::begin(b"ab", &mut room).unwrap();
        assert!(room.is_empty());
        assert!(!gathered.push(&[b'x'; SHORT_RUN]));
        assert!(gathered.push(b"cd"));
        assert!(gathered.push_with(|place: &mut [u8; 4]| {
            *place = *b"ef--";
            Some(2)
        }));
        assert!(!gathered.push_with(|_: &mut [u8; 4]| None));
        assert!(gathered.push(&[b'x'; 250]) && gathered.push(&[b'x'; 250]));
        assert!(!gathered.push(&[b'x'; 100]));
        let piece = gathered.into_piece();
        assert!(piece.starts_with(b"abcdefxx") && piece.len() == 506);
        assert!(Gathered::begin(b"ab", &mut &mut memory[..10]).is_none());
    }
}
