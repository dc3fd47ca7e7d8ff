//! UTF-8 that comes in pieces, cut anywhere: what cannot become valid any more is found with the byte that says so.

/// What is known of a text so far: the beginning of a character that is not complete, three bytes at most.
#[derive(Debug, Default)]
pub(super) struct Utf8 {
    begun: [u8; 4],
    len: usize,
}

impl Utf8 {
    /// False: the text is not valid, whatever may follow.
    pub fn feed(&mut self, mut bytes: &[u8]) -> bool {
        while self.len > 0 {
            let Some((first, rest)) = bytes.split_first() else {
                return true;
            };
            bytes = rest;
            // Four bytes are a character or are wrong: there is never a fifth.
            self.begun[self.len] = *first;
            self.len += 1;
            match std::str::from_utf8(&self.begun[..self.len]) {
                Ok(_) => self.len = 0,
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return false,
            }
        }
        match std::str::from_utf8(bytes) {
            Ok(_) => true,
            Err(error) if error.error_len().is_none() => {
                let begun = &bytes[error.valid_up_to()..];
                self.begun[..begun.len()].copy_from_slice(begun);
                self.len = begun.len();
                true
            }
            Err(_) => false,
        }
    }

    /// Whether the text may end here.
    pub fn is_complete(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Fed byte by byte: how many bytes are taken before it is found wrong.
    fn taken(bytes: &[u8]) -> (usize, bool) {
        let mut text = Utf8::default();
        let taken = bytes.iter().take_while(|byte| text.feed(&[**byte])).count();
        (taken, text.is_complete())
    }

    #[test]
    fn what_is_wrong_is_found_with_its_first_byte() {
        for (bytes, expected) in [
            (&b"\xce\xba\xf4\x90\x80\x80"[..], 3),
            (b"\xed\xa0\x80", 1),
            (b"\xc0\x80", 0),
            (b"\xf8\x88\x80\x80\x80", 0),
            (b"\xe0\x9f\xbf", 1),
            (b"a\x80", 1),
        ] {
            assert_eq!(taken(bytes).0, expected, "{bytes:?}");
        }
        assert_eq!(taken("\u{1d11e}".as_bytes()), (4, true));
        assert_eq!(taken(b"\xf0\x9d\x84"), (3, false));
    }

    proptest! {
        #[test]
        fn pieces_are_judged_as_the_whole(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 0..6)) {
            let mut text = Utf8::default();
            let valid = pieces.iter().all(|piece| text.feed(piece)) && text.is_complete();
            prop_assert_eq!(valid, std::str::from_utf8(&pieces.concat()).is_ok());
        }

        #[test]
        fn a_valid_text_is_valid_however_it_is_cut(text in "\\PC{0,20}", size in 1_usize..5) {
            let mut fed = Utf8::default();
            prop_assert!(text.as_bytes().chunks(size).all(|piece| fed.feed(piece)));
            prop_assert!(fed.is_complete());
        }
    }
}
