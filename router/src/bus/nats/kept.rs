//! What a lower limit per target has trimmed before. Raising the limit brings nothing back: so the stream's metadata tells
//! the limit that was, and up to where it was in force. Else a trimmed target would pass for a whole one.

use std::collections::HashMap;

use async_nats::jetstream::stream::{Config, Info};

use crate::bus::Earlier;

/// The lowest limit per target that still matters.
const LIMIT: &str = "herald_kept_before";
/// The stream's last sequence when no server trimmed by that limit any more; missing until that is certain.
const UPTO: &str = "herald_raised_at";

/// Of messages per target.
pub(super) fn limit(config: &Config) -> u64 {
    // Negative: without a limit.
    u64::try_from(config.max_messages_per_subject).unwrap_or(u64::MAX)
}

/// None where nothing is left of what an earlier limit may have trimmed: then the stream's first sequence tells enough.
pub(super) fn earlier(found: &Info) -> Option<Earlier> {
    let number = |key| found.config.metadata.get(key)?.parse().ok();
    let earlier = Earlier {
        per_target: number(LIMIT)?,
        upto: number(UPTO).unwrap_or(u64::MAX),
    };
    (found.state.first_sequence <= earlier.upto).then_some(earlier)
}

/// The metadata with which the stream gets the limit of `wanted`. Of several raises the lowest limit counts, up to the last
/// of them: a gap too many rather than one too few.
pub(super) fn metadata(wanted: &Config, found: &Info) -> HashMap<String, String> {
    let mut metadata = found.config.metadata.clone();
    let was = limit(&found.config);
    if limit(wanted) > was {
        let lowest = earlier(found).map_or(was, |earlier| earlier.per_target.min(was));
        metadata.insert(LIMIT.to_owned(), lowest.to_string());
        metadata.remove(UPTO);
    }
    metadata
}

/// The settings of a stream whose limit was raised, with the place noted up to which the lower one was in force. None
/// where that is known, or was never so.
pub(super) fn settled(found: &Info) -> Option<Config> {
    let metadata = &found.config.metadata;
    if !metadata.contains_key(LIMIT) || metadata.contains_key(UPTO) {
        return None;
    }
    let mut config = found.config.clone();
    let last = found.state.last_sequence.to_string();
    config.metadata.insert(UPTO.to_owned(), last);
    Some(config)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stream(limit: i64, first: u64, last: u64) -> Info {
        let time = "2026-01-01T00:00:00Z";
        let state = json!({"messages": 0, "bytes": 0, "first_seq": first, "first_ts": time, "last_seq": last,
            "last_ts": time, "consumer_count": 0});
        let config = json!({"name": "log", "max_consumers": -1, "max_msgs": -1, "max_bytes": -1, "max_age": 0,
            "max_msgs_per_subject": limit, "discard": "old", "storage": "file", "num_replicas": 1, "retention": "limits"});
        let info = json!({"config": config, "created": time, "state": state, "cluster": null});
        serde_json::from_value(info).unwrap()
    }

    /// As NATS does it.
    fn set(found: &mut Info, limit: i64) {
        let wanted = stream(limit, 1, 1).config;
        found.config.metadata = metadata(&wanted, found);
        found.config.max_messages_per_subject = limit;
    }

    fn told(found: &Info) -> Option<(u64, u64)> {
        earlier(found).map(|earlier| (earlier.per_target, earlier.upto))
    }

    #[test]
    fn a_raise_is_remembered_and_a_lowering_needs_no_memory() {
        let mut found = stream(20, 1, 50);
        set(&mut found, 20);
        set(&mut found, 10);
        assert!(told(&found).is_none() && settled(&found).is_none());
        set(&mut found, 1_000);
        assert_eq!(told(&found), Some((10, u64::MAX)), "up to where is not known yet");
        found.config = settled(&found).unwrap();
        assert_eq!(told(&found), Some((10, 50)));
        assert!(settled(&found).is_none(), "once");
        set(&mut found, 500);
        assert_eq!(told(&found), Some((10, 50)));
    }

    #[test]
    fn of_several_raises_the_lowest_limit_counts_up_to_the_last() {
        let mut found = stream(20, 1, 50);
        set(&mut found, 100);
        found.config = settled(&found).unwrap();
        found.state.last_sequence = 90;
        set(&mut found, 1_000);
        assert_eq!(told(&found), Some((20, u64::MAX)));
        found.config = settled(&found).unwrap();
        assert_eq!(told(&found), Some((20, 90)));
    }

    #[test]
    fn what_the_log_no_longer_holds_is_forgotten() {
        let mut found = stream(20, 1, 50);
        set(&mut found, 100);
        found.config = settled(&found).unwrap();
        found.state.first_sequence = 51;
        assert_eq!(told(&found), None);
        set(&mut found, 1_000);
        assert_eq!(told(&found), Some((100, u64::MAX)));
    }

    #[test]
    fn without_a_limit_nothing_was_trimmed() {
        let mut found = stream(-1, 1, 50);
        set(&mut found, 1_000);
        assert_eq!(told(&found), None);
    }
}
