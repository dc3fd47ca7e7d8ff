//! Names on the bus. Ids become subject tokens by an escape that is injective and yields only characters that NATS
//! allows in subjects and in keys of its KV buckets.

use std::borrow::Cow;

use crate::Target;

/// The one shard of the log, for now; it stands in every log subject so that more can be added.
pub const SHARD: u32 = 0;

/// Escapes one id into one token: `A-Z a-z 0-9 - _` stand for themselves, every other byte is `=` and two hex digits.
pub fn escape(id: &str) -> String {
    let mut token = String::with_capacity(id.len() + 8);
    push_escaped(&mut token, id);
    token
}

fn push_escaped(token: &mut String, id: &str) {
    for byte in id.bytes() {
        if is_plain(byte) {
            token.push(char::from(byte));
        } else {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            token.push('=');
            token.push(char::from(HEX[usize::from(byte >> 4)]));
            token.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// The inverse of [`escape`]; None for what escape cannot have made.
pub fn unescape(token: &str) -> Option<String> {
    unescaped(token).map(Cow::into_owned)
}

/// Most ids need no escape.
fn unescaped(token: &str) -> Option<Cow<'_, str>> {
    if token.bytes().all(is_plain) {
        return Some(Cow::Borrowed(token));
    }
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'=' => {
                let (high, low) = (hex_digit(rest.next()?)?, hex_digit(rest.next()?)?);
                bytes.push(high << 4 | low);
            }
            _ if is_plain(byte) => bytes.push(byte),
            _ => return None,
        }
    }
    let id = String::from_utf8(bytes).ok()?;
    (escape(&id) == token).then_some(Cow::Owned(id))
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Several ids as one dotted key, each escaped.
pub fn key(parts: &[&str]) -> String {
    parts.iter().map(|part| escape(part)).collect::<Vec<_>>().join(".")
}

/// The parts that [`key`] was given.
pub fn split_key(key: &str) -> Option<Vec<String>> {
    key.split('.').map(unescape).collect()
}

/// As [`split_key`], one by one; None in place of what is no part.
pub fn parts(key: &str) -> impl Iterator<Item = Option<Cow<'_, str>>> {
    key.split('.').map(unescaped)
}

/// What follows the prefix and kind in a target's subjects: `user.<uid>`, `group.<gid>` or `all`.
pub fn target_tokens(target: &Target) -> String {
    with_target(String::new(), target)
}

/// Written into one string: a sweep names every target of a gateway.
fn with_target(mut subject: String, target: &Target) -> String {
    let (kind, id) = match target {
        Target::User(user) => ("user.", &**user),
        Target::Group(group) => ("group.", &**group),
        Target::All => ("all", ""),
    };
    subject.reserve(kind.len() + id.len() + 8);
    subject.push_str(kind);
    push_escaped(&mut subject, id);
    subject
}

/// The inverse of [`target_tokens`].
pub fn parse_target(tokens: &str) -> Option<Target> {
    match tokens.split_once('.') {
        None if tokens == "all" => Some(Target::All),
        Some(("user", token)) => unescape(token).map(Target::user),
        Some(("group", token)) => unescape(token).map(Target::group),
        _ => None,
    }
}

/// All names of one cluster on a NATS that it may share with others.
#[derive(Debug, Clone)]
pub struct Names {
    prefix: String,
}

impl Names {
    /// `prefix` has been checked by the configuration: one or more tokens of letters, digits, `-` and `_`.
    pub fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into() }
    }

    /// Stream and bucket names allow no dots.
    fn flat_prefix(&self) -> String {
        self.prefix.replace('.', "_")
    }

    pub fn log_stream(&self) -> String {
        format!("{}_LOG_{SHARD}", self.flat_prefix())
    }

    pub fn log_subjects(&self) -> String {
        format!("{}.log.{SHARD}.>", self.prefix)
    }

    pub fn log(&self, target: &Target) -> String {
        with_target(format!("{}.log.{SHARD}.", self.prefix), target)
    }

    /// The target that a log subject belongs to.
    pub fn log_target(&self, subject: &str) -> Option<Target> {
        let rest = subject.strip_prefix(&self.prefix)?.strip_prefix(".log.")?;
        let (_shard, tokens) = rest.split_once('.')?;
        parse_target(tokens)
    }

    /// Routers append here every second, so that an answer to "what is newer?" is never empty.
    pub fn beat(&self) -> String {
        format!("{}.log.{SHARD}.beat", self.prefix)
    }

    /// Where a beat comes back.
    pub fn live_beat(&self) -> String {
        format!("{}.live.beat", self.prefix)
    }

    /// A message that stands alone under its subject, so that no limit per target removes it; `hour` since 1970. While
    /// one stands, the stream's first message is gone only by age, for want of room, or by somebody's hand.
    pub fn anchor(&self, hour: u64) -> String {
        format!("{}.log.{SHARD}.anchor.{hour}", self.prefix)
    }

    pub fn live(&self, target: &Target) -> String {
        with_target(format!("{}.live.", self.prefix), target)
    }

    pub fn live_subjects(&self) -> String {
        format!("{}.live.>", self.prefix)
    }

    pub fn command(&self, verb: &str) -> String {
        format!("{}.cmd.{verb}", self.prefix)
    }

    /// Where a backend of the application listens; names and methods are plain tokens already.
    pub fn service(&self, service: &str, method: Option<&str>) -> String {
        match method {
            Some(method) => format!("{}.svc.{service}.{method}", self.prefix),
            None => format!("{}.svc.{service}", self.prefix),
        }
    }

    /// Where a router tells the others that somebody has left a group.
    pub fn left(&self) -> String {
        format!("{}.sync.left", self.prefix)
    }

    /// Where routers speak to one gateway.
    pub fn node(&self, node: &str) -> String {
        format!("{}.node.{}", self.prefix, escape(node))
    }

    /// Where one gateway asks another which of a user's connections it has.
    pub fn node_connections(&self, node: &str) -> String {
        format!("{}.connections", self.node(node))
    }

    /// Where what happened is published; `kind` is a plain token, or `>`.
    pub fn event(&self, kind: &str) -> String {
        format!("{}.event.{kind}", self.prefix)
    }

    pub fn event_stream(&self) -> String {
        format!("{}_EVENTS", self.flat_prefix())
    }

    /// Where what could not be delivered to a hook is put aside; its name is a plain token, or `>`.
    pub fn parked(&self, hook: &str) -> String {
        format!("{}.parked.{hook}", self.prefix)
    }

    pub fn parked_stream(&self) -> String {
        format!("{}_PARKED", self.flat_prefix())
    }

    /// Where any node says how it is.
    pub fn node_status(&self, node: &str) -> String {
        format!("{}.status", self.node(node))
    }

    /// Where a router tells the gateways of a message whose live copies may have been lost.
    pub fn nudge(&self) -> String {
        format!("{}.sync.nudge", self.prefix)
    }

    /// `bucket` is one of the names in DESIGN.md, such as `PRESENCE`.
    pub fn bucket(&self, bucket: &str) -> String {
        format!("{}_{bucket}", self.flat_prefix())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tokens_hold_only_what_nats_allows() {
        assert_eq!(escape("a.b*c> 小"), "a=2Eb=2Ac=3E=20=E5=B0=8F");
        assert_eq!(unescape("a=2eb"), None, "lower case hex is not ours");
        assert_eq!(unescape("=41"), None, "'A' needs no escape");
    }

    #[test]
    fn beats_and_anchors_are_nobodys() {
        let names = Names::new("herald");
        assert_eq!(names.anchor(497_222), "herald.log.0.anchor.497222");
        for subject in [names.beat(), names.anchor(497_222)] {
            assert!(
                subject.starts_with(names.log_subjects().trim_end_matches('>')),
                "{subject}"
            );
            assert_eq!(names.log_target(&subject), None);
        }
    }

    proptest! {
        #[test]
        fn escape_is_injective(a in ".{0,40}", b in ".{0,40}") {
            prop_assert_eq!(escape(&a) == escape(&b), a == b);
            prop_assert_eq!(unescape(&escape(&a)), Some(a));
        }

        #[test]
        fn escaped_tokens_are_plain(id in "\\PC{1,60}") {
            prop_assert!(escape(&id).bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=".contains(&b)));
        }

        #[test]
        fn keys_split_back(parts in prop::collection::vec("\\PC{1,20}", 1..4)) {
            let refs: Vec<&str> = parts.iter().map(String::as_str).collect();
            let key = key(&refs);
            let one_by_one: Option<Vec<_>> = super::parts(&key).collect();
            prop_assert_eq!(one_by_one, Some(refs.into_iter().map(Cow::from).collect()));
            prop_assert_eq!(split_key(&key), Some(parts));
        }

        #[test]
        fn targets_parse_back(id in "\\PC{1,20}") {
            let names = Names::new("herald");
            for target in [Target::user(id.as_str()), Target::group(id.as_str()), Target::All] {
                prop_assert_eq!(names.log_target(&names.log(&target)), Some(target));
            }
        }
    }
}
