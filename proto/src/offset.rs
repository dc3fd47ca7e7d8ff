//! Offsets name stored messages: `<log>:<sequence>`, where the log is `<epoch>.<shard>`.

use std::{fmt, str::FromStr, sync::Arc};

/// One incarnation of one shard of the log. A stream that was deleted and made anew counts from 1 again, so its offsets
/// must not pass for the old ones: the epoch tells them apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LogId(Arc<str>);

impl LogId {
    /// `created_ns` is when the stream was made, in Unix nanoseconds.
    pub fn new(created_ns: u128, shards: u32, shard: u32) -> Self {
        Self(format!("{created_ns:x}{shards:x}.{shard}").into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn at(&self, sequence: u64) -> Offset {
        Offset {
            log: self.clone(),
            sequence,
        }
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Offset {
    pub log: LogId,
    pub sequence: u64,
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.log, self.sequence)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed offset or cursor")]
pub struct OffsetError;

impl FromStr for LogId {
    type Err = OffsetError;

    fn from_str(text: &str) -> Result<Self, OffsetError> {
        let (epoch, shard) = text.split_once('.').ok_or(OffsetError)?;
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let fits = !epoch.is_empty()
            && epoch.len() <= 40
            && epoch.bytes().all(hex)
            && !shard.is_empty()
            && shard.len() <= 5
            && shard.bytes().all(|b| b.is_ascii_digit());
        fits.then(|| Self(text.into())).ok_or(OffsetError)
    }
}

impl FromStr for Offset {
    type Err = OffsetError;

    fn from_str(text: &str) -> Result<Self, OffsetError> {
        let (log, sequence) = text.split_once(':').ok_or(OffsetError)?;
        Ok(Self {
            log: log.parse()?,
            sequence: number(sequence)?,
        })
    }
}

/// How many messages a cursor names beyond its place: what a node delivers between two looks at the log, within a text
/// that still fits into a URL.
pub const BEYOND: usize = 256;

/// "All that was stored up to here has been given to you, and these": `<epoch>@<shard>:<sequence>`, where there are such
/// ones followed by `+<ahead>,<ahead>…`, each ahead of the one before. Opaque to clients, and of another form than an
/// offset, so that neither passes for the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    pub log: LogId,
    pub sequence: u64,
    /// Ascending, all after `sequence`, at most [`BEYOND`].
    beyond: Vec<u64>,
}

impl Cursor {
    pub fn new(log: LogId, sequence: u64) -> Self {
        Self {
            log,
            sequence,
            beyond: Vec::new(),
        }
    }

    /// Whether this message has been given.
    pub fn covers(&self, sequence: u64) -> bool {
        sequence <= self.sequence || self.beyond.binary_search(&sequence).is_ok()
    }

    /// What has been given beyond the place.
    pub fn beyond(&self) -> &[u64] {
        &self.beyond
    }

    /// The newest message that has been given, or may have been.
    pub fn newest(&self) -> u64 {
        self.beyond.last().copied().unwrap_or(self.sequence)
    }

    pub fn is_full(&self) -> bool {
        self.beyond.len() >= BEYOND
    }

    /// All up to here has been given.
    pub fn advance(&mut self, sequence: u64) {
        if sequence > self.sequence {
            self.sequence = sequence;
            self.beyond.retain(|given| *given > sequence);
        }
    }

    /// This message has been given too. False where it had been, or where the cursor is full.
    pub fn give(&mut self, sequence: u64) -> bool {
        if sequence <= self.sequence || self.is_full() {
            return false;
        }
        match self.beyond.binary_search(&sequence) {
            Ok(_) => false,
            Err(at) => {
                self.beyond.insert(at, sequence);
                true
            }
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.log.as_str().replacen('.', "@", 1), self.sequence)?;
        let mut before = self.sequence;
        for (at, sequence) in self.beyond.iter().enumerate() {
            let sign = if at == 0 { '+' } else { ',' };
            write!(f, "{sign}{}", sequence - before)?;
            before = *sequence;
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = OffsetError;

    fn from_str(text: &str) -> Result<Self, OffsetError> {
        if text.contains('.') {
            return Err(OffsetError);
        }
        let (place, ahead) = match text.split_once('+') {
            Some((place, ahead)) => (place, Some(ahead)),
            None => (text, None),
        };
        let Offset { log, sequence } = place.replacen('@', ".", 1).parse()?;
        let mut cursor = Self::new(log, sequence);
        for ahead in ahead.into_iter().flat_map(|ahead| ahead.split(',')) {
            let ahead = number(ahead)?;
            let sequence = cursor.newest().checked_add(ahead).ok_or(OffsetError)?;
            if !cursor.give(sequence) {
                return Err(OffsetError);
            }
        }
        Ok(cursor)
    }
}

/// Digits only: the standard parser would take a sign.
fn number(text: &str) -> Result<u64, OffsetError> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(OffsetError);
    }
    text.parse().map_err(|_| OffsetError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_parse_back() {
        let offset = LogId::new(1_790_000_000_123_456_789, 1, 0).at(58);
        assert_eq!(offset.to_string().parse(), Ok(offset));
    }

    #[test]
    fn cursors_are_no_offsets() {
        let cursor: Cursor = "5f3a@0:41".parse().unwrap();
        assert_eq!(cursor.to_string(), "5f3a@0:41");
        assert_eq!(cursor.log.as_str(), "5f3a.0");
        for bad in ["5f3a.0:41", "5f3a@0", "@0:1", "x@0:1", "5f3a@0:-1", "5f3a@0@0:1"] {
            assert_eq!(bad.parse::<Cursor>(), Err(OffsetError), "{bad}");
        }
        assert!("5f3a@0:41".parse::<Offset>().is_err());
    }

    #[test]
    fn a_cursor_names_what_was_given_beyond_its_place() {
        let mut cursor: Cursor = "5f3a@0:41+17,2".parse().unwrap();
        assert_eq!((cursor.sequence, cursor.beyond()), (41, &[58, 60][..]));
        assert_eq!(cursor.to_string(), "5f3a@0:41+17,2");
        let covered: Vec<u64> = (40..62).filter(|sequence| cursor.covers(*sequence)).collect();
        assert_eq!((covered, cursor.newest()), (vec![40, 41, 58, 60], 60));
        assert!(cursor.give(59) && !cursor.give(59) && !cursor.give(41));
        cursor.advance(58);
        assert_eq!(cursor.to_string(), "5f3a@0:58+1,1");
        cursor.advance(50);
        assert_eq!(cursor.sequence, 58, "never back");
        for bad in ["+", "+0", "+1,", "+1,0", "+-1", "++1", "+1+1", "+18446744073709551615"] {
            assert_eq!(format!("5f3a@0:41{bad}").parse::<Cursor>(), Err(OffsetError), "{bad}");
        }
    }

    #[test]
    fn a_cursor_is_bounded() {
        let mut cursor = Cursor::new("a.0".parse().unwrap(), 0);
        let given = (1..=2 * BEYOND as u64).filter(|n| cursor.give(n * 1_000_000)).count();
        assert_eq!((given, cursor.is_full()), (BEYOND, true));
        let text = cursor.to_string();
        assert!(text.len() < 4096, "{} bytes", text.len());
        assert_eq!(text.parse(), Ok(cursor));
        assert_eq!(format!("{text},1").parse::<Cursor>(), Err(OffsetError));
    }

    #[test]
    fn malformed_offsets_are_refused() {
        for bad in [
            "", ":", "a.0", "a.0:", "a.0:+5", "a.0:x", "G.0:1", "a:1", ".0:1", "a.:1",
        ] {
            assert_eq!(bad.parse::<Offset>(), Err(OffsetError), "{bad}");
        }
        assert_eq!("a.0:99999999999999999999".parse::<Offset>(), Err(OffsetError));
    }
}
