use std::time::{Duration, Instant};

use bytesize::ByteSize;

use super::*;
use crate::rate::Bucket;

#[test]
fn a_reload_says_what_it_changed_and_what_needs_a_restart() {
    let limits = Limits::new(LimitSettings::default());
    let wanted = LimitSettings {
        frame: ByteSize::kib(32),
        memory: Some(ByteSize::gib(1)),
        connections: 7,
        ping_interval: Duration::from_secs(20),
        ..LimitSettings::default()
    };
    let changes = limits.reload(&wanted);
    let applied: Vec<String> = changes.applied.iter().map(ToString::to_string).collect();
    assert_eq!(
        applied,
        [
            "limits.connections: 100000 becomes 7",
            "limits.frame: 64.0 KiB becomes 32.0 KiB",
            "limits.memory: unset becomes 1.0 GiB"
        ]
    );
    let restart: Vec<String> = changes.needs_restart.iter().map(ToString::to_string).collect();
    assert_eq!(restart, ["limits.ping_interval: 25s becomes 20s"]);
    let now = limits.now();
    assert_eq!((now.connections, now.ping_interval), (7, Duration::from_secs(25)));
    let again = limits.reload(&wanted);
    assert!(again.applied.is_empty());
    assert_eq!(again.needs_restart.len(), 1, "it still waits for the restart");
}

#[test]
fn every_setting_is_told_of() {
    let fields = fields(&LimitSettings::default());
    assert_eq!(fields.len(), 26);
    assert!(NEEDS_RESTART.iter().all(|name| fields.contains_key(*name)));
}

#[test]
fn a_rate_that_was_raised_holds_for_those_who_had_spent_the_old_one() {
    let limits = Limits::new(LimitSettings {
        commands_per_second: 1,
        commands_burst: 1,
        ..LimitSettings::default()
    });
    let (mut bucket, now) = (Bucket::default(), Instant::now());
    let take = |limits: &Limits, bucket: &mut Bucket| limits.rates().connection.commands.take(bucket, 1, now).is_ok();
    assert!(take(&limits, &mut bucket) && !take(&limits, &mut bucket));
    limits.reload(&LimitSettings::default());
    assert!(take(&limits, &mut bucket));
}

#[test]
fn a_user_may_do_twice_as_much_as_a_connection_unless_it_is_said() {
    let settings = LimitSettings {
        commands_per_second: 10,
        user_bytes_burst: Some(ByteSize::mib(5)),
        ..LimitSettings::default()
    };
    assert_eq!(settings.user_commands(), [20, 400]);
    assert_eq!(settings.user_bytes(), [2 << 20, 5 << 20]);
}
