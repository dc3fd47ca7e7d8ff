//! What stands in each message: which run and stream it belongs to, its number in that stream, and when it was due.
//!
//! It is text that no JSON has to escape, and it is found by searching for bytes: receivers of 100,000 messages a second
//! have no time to parse what carries it.

use std::fmt::Write as _;

const MARK: u8 = b'~';

/// One order of messages: of a group, of a user, or of all.
pub type Stream = u32;

/// Broadcasts.
pub const ALL: Stream = 0;
/// Groups are numbered from here.
pub const GROUPS: Stream = 1;
/// Users are numbered from here.
pub const USERS: Stream = 1 << 28;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Tells this run's messages from those of an earlier one.
    pub run: u32,
    pub stream: Stream,
    pub number: u64,
    /// When it should have been sent, on [`crate::clock`].
    pub due: u64,
}

impl Stamp {
    /// A body of `size` bytes, or of as many as the stamp needs.
    pub fn body(&self, size: usize) -> String {
        let mut body = String::with_capacity(size.max(64));
        let Self {
            run,
            stream,
            number,
            due,
        } = self;
        // Writing to a String cannot fail.
        let _ = write!(body, "~{run}.{stream}.{number}.{due}~");
        while body.len() < size {
            body.push('x');
        }
        body
    }

    /// The first stamp in a frame, and what follows it.
    pub fn find(mut frame: &[u8]) -> Option<(Stamp, &[u8])> {
        loop {
            let start = memchr::memchr(MARK, frame)? + 1;
            frame = &frame[start..];
            let end = memchr::memchr(MARK, frame)?;
            if let Some(stamp) = Self::parse(&frame[..end]) {
                return Some((stamp, &frame[end + 1..]));
            }
        }
    }

    fn parse(text: &[u8]) -> Option<Stamp> {
        let mut numbers = text.split(|byte| *byte == b'.').map(number);
        let stamp = Stamp {
            run: u32::try_from(numbers.next()??).ok()?,
            stream: u32::try_from(numbers.next()??).ok()?,
            number: numbers.next()??,
            due: numbers.next()??,
        };
        numbers.next().is_none().then_some(stamp)
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Stamp = Stamp {
        run: 7,
        stream: 3,
        number: 41,
        due: 1_234_567_890_123_456_789,
    };

    #[test]
    fn a_stamp_is_found_in_whatever_frame_carries_it() {
        let frame = format!("{{\"message\":{{\"from\":\"a~b\",\"body\":\"{}\"}}}}", ONE.body(64));
        let (found, rest) = Stamp::find(frame.as_bytes()).expect("a stamp");
        assert_eq!(found, ONE);
        assert!(Stamp::find(rest).is_none());
    }

    #[test]
    fn several_stamps_of_one_frame_are_all_found() {
        let two = Stamp { number: 42, ..ONE };
        let frame = format!("{}\n{}", ONE.body(0), two.body(100));
        let (first, rest) = Stamp::find(frame.as_bytes()).expect("a stamp");
        let (second, _) = Stamp::find(rest).expect("another");
        assert_eq!((first, second), (ONE, two));
    }

    #[test]
    fn bodies_have_the_size_that_was_asked_for() {
        assert_eq!(ONE.body(64).len(), 64);
        assert_eq!(ONE.body(1024).len(), 1024);
        assert!(ONE.body(1).len() > 1, "the stamp itself is never cut");
    }

    #[test]
    fn what_is_no_stamp_is_none() {
        for text in [
            "",
            "~~",
            "~1.2.3~",
            "~1.2.3.4.5~",
            "~a.2.3.4~",
            "~1.2.3.",
            "~99999999999.1.1.1~",
        ] {
            assert!(Stamp::find(text.as_bytes()).is_none(), "{text}");
        }
    }
}
