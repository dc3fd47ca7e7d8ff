use std::time::{Duration, Instant};

use bytesize::ByteSize;

use super::*;
use crate::rate::Bucket;

#[test]
fn what_needs_a_restart_stays_as_it_was() {
    let limits = Limits::new(LimitSettings::default());
    limits.reload(&LimitSettings {
        connections: 7,
        calls_in_flight: 7,
        ping_interval: Duration::from_secs(20),
        pong_timeout: Duration::from_secs(7),
        ..LimitSettings::default()
    });
    let expected = LimitSettings {
        connections: 7,
        ..LimitSettings::default()
    };
    assert_eq!(*limits.now(), expected);
    let restart = crate::config::RULES
        .restart
        .iter()
        .filter(|name| name.starts_with("limits."));
    assert_eq!(restart.count(), 3, "those of them that are tried here");
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
