//! The stream and the buckets as they should be, and how one that differs is brought there.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, Republish, StorageType};
use herald_proto::{limits::DEDUP_WINDOW, subject::Names};

use super::kept;
use crate::bus::{Bucket, EventLimits, LogLimits};

/// How long the trace of a deleted key stays in a bucket: longer than a watch may lag before it begins anew.
pub(super) const MARKER: Duration = Duration::from_secs(120);

/// How long what could not be delivered is kept for somebody to look at.
const PARKED: Duration = Duration::from_secs(30 * 24 * 3600);

pub(super) fn bucket_stream(names: &Names, bucket: Bucket) -> String {
    format!("KV_{}", names.bucket(bucket.name()))
}

/// What a bucket's keys stand under, with the last dot.
pub(super) fn bucket_subject(names: &Names, bucket: Bucket) -> String {
    format!("$KV.{}.", names.bucket(bucket.name()))
}

/// All that must exist.
pub(super) fn wanted(names: &Names, limits: &LogLimits, events: Option<&EventLimits>) -> Vec<Config> {
    let buckets = Bucket::ALL.into_iter().map(|bucket| kv(names, bucket));
    let events = events.into_iter().flat_map(|limits| {
        [
            Config {
                description: Some("Herald: what happened".to_owned()),
                ..event_stream(names.event_stream(), names.event(">"), limits, limits.max_age)
            },
            Config {
                description: Some("Herald: events that could not be delivered to a webhook".to_owned()),
                ..event_stream(names.parked_stream(), names.parked(">"), limits, PARKED)
            },
        ]
    });
    std::iter::once(log(names, limits))
        .chain(buckets)
        .chain(events)
        .collect()
}

fn event_stream(name: String, subjects: String, limits: &EventLimits, max_age: Duration) -> Config {
    Config {
        name,
        subjects: vec![subjects],
        max_age,
        max_messages_per_subject: -1,
        max_bytes: i64::try_from(limits.max_bytes).unwrap_or(i64::MAX),
        discard: DiscardPolicy::Old,
        storage: StorageType::File,
        duplicate_window: DEDUP_WINDOW.min(max_age),
        allow_direct: true,
        ..unlimited()
    }
}

fn log(names: &Names, limits: &LogLimits) -> Config {
    let whole = |limit: u64| i64::try_from(limit).unwrap_or(i64::MAX);
    let subjects = names.log_subjects();
    Config {
        name: names.log_stream(),
        description: Some("Herald: every durable message".to_owned()),
        republish: Some(Republish {
            source: subjects.clone(),
            destination: names.live_subjects(),
            headers_only: false,
        }),
        subjects: vec![subjects],
        max_age: limits.max_age,
        max_messages_per_subject: whole(limits.max_messages_per_target),
        max_bytes: whole(limits.max_bytes),
        discard: DiscardPolicy::Old,
        storage: StorageType::File,
        // A window longer than what is kept would be refused, and there would be nothing to find in it.
        duplicate_window: DEDUP_WINDOW.min(limits.max_age),
        allow_direct: true,
        deny_delete: true,
        ..unlimited()
    }
}

fn kv(names: &Names, bucket: Bucket) -> Config {
    Config {
        name: bucket_stream(names, bucket),
        description: Some("Herald".to_owned()),
        subjects: vec![format!("{}>", bucket_subject(names, bucket))],
        max_messages_per_subject: 1,
        discard: DiscardPolicy::New,
        storage: StorageType::File,
        allow_direct: true,
        allow_rollup: true,
        deny_delete: true,
        allow_message_ttl: true,
        subject_delete_marker_ttl: Some(MARKER),
        ..unlimited()
    }
}

fn unlimited() -> Config {
    Config {
        max_messages: -1,
        max_bytes: -1,
        max_message_size: -1,
        max_consumers: -1,
        ..Config::default()
    }
}

/// The existing settings with ours laid over them; None where they agree. What is not ours an operator may have set.
pub(super) fn correction(wanted: &Config, found: &Info, replicas: Option<usize>) -> Option<Config> {
    let settings = &found.config;
    let corrected = Config {
        subjects: wanted.subjects.clone(),
        max_age: wanted.max_age,
        max_messages_per_subject: wanted.max_messages_per_subject,
        max_bytes: wanted.max_bytes,
        discard: wanted.discard,
        duplicate_window: if wanted.duplicate_window.is_zero() {
            settings.duplicate_window
        } else {
            wanted.duplicate_window
        },
        republish: wanted.republish.clone(),
        allow_direct: true,
        allow_rollup: wanted.allow_rollup || settings.allow_rollup,
        allow_message_ttl: wanted.allow_message_ttl || settings.allow_message_ttl,
        subject_delete_marker_ttl: wanted.subject_delete_marker_ttl.or(settings.subject_delete_marker_ttl),
        num_replicas: replicas.unwrap_or(settings.num_replicas),
        metadata: kept::metadata(wanted, found),
        ..settings.clone()
    };
    (corrected != *settings).then_some(corrected)
}
