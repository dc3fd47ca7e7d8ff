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
        if sequence.is_empty() || !sequence.bytes().all(|b| b.is_ascii_digit()) {
            return Err(OffsetError);
        }
        Ok(Self {
            log: log.parse()?,
            sequence: sequence.parse().map_err(|_| OffsetError)?,
        })
    }
}

/// "All that was stored up to here has been given to you": `<epoch>@<shard>:<sequence>`. Opaque to clients, and of
/// another form than an offset, so that neither passes for the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    pub log: LogId,
    pub sequence: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.log.as_str().replacen('.', "@", 1), self.sequence)
    }
}

impl FromStr for Cursor {
    type Err = OffsetError;

    fn from_str(text: &str) -> Result<Self, OffsetError> {
        if text.contains('.') {
            return Err(OffsetError);
        }
        let Offset { log, sequence } = text.replacen('@', ".", 1).parse()?;
        Ok(Self { log, sequence })
    }
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
    fn malformed_offsets_are_refused() {
        for bad in [
            "", ":", "a.0", "a.0:", "a.0:+5", "a.0:x", "G.0:1", "a:1", ".0:1", "a.:1",
        ] {
            assert_eq!(bad.parse::<Offset>(), Err(OffsetError), "{bad}");
        }
        assert_eq!("a.0:99999999999999999999".parse::<Offset>(), Err(OffsetError));
    }
}
