use clap::Parser;

use super::*;
use crate::capacity::Capacity;

fn needs(arguments: &[&str]) -> Needs {
    let all = Capacity::parse_from([&["capacity"], arguments].concat());
    Needs::of(&all.load, &all.machines, &all.constants)
}

#[test]
fn more_users_need_more_of_everything() {
    let (few, many) = (needs(&["--users", "100000"]), needs(&["--users", "1000000"]));
    assert!(few.gateways < many.gateways);
    assert!(few.nats_memory * 9.0 < many.nats_memory);
    assert!(few.rates.deliveries * 9.0 < many.rates.deliveries);
}

#[test]
fn a_group_message_goes_to_no_more_gateways_than_there_are_members_or_gateways() {
    let needs = needs(&["--users", "10000000", "--group-size", "10"]);
    assert!(needs.rates.gateways_per_group <= 10.0);
    let one = Rates::of(&Capacity::parse_from(["capacity"]).load, 1.0);
    assert!((one.gateways_per_group - 1.0).abs() < 1e-9);
}

#[test]
fn with_ten_million_users_the_interest_of_nats_is_beyond_a_server_of_16_gib() {
    let needs = needs(&["--users", "10000000"]);
    assert!((8.0..10.0).contains(&needs.nats_interest), "{}", needs.nats_interest);
    assert!(needs.limits[0].used > 1.0);
    assert!(
        needs
            .limits
            .iter()
            .any(|limit| limit.what.contains("interest") && limit.used > 1.0)
    );
}

#[test]
fn a_storm_is_held_against_what_one_stream_takes() {
    let used = |seconds: &str| {
        let needs = needs(&["--users", "1000000", "--storm-seconds", seconds]);
        let mut limits = needs
            .limits
            .iter()
            .filter(|limit| limit.what.contains("storm: appends"));
        limits.next().expect("such a limit").used
    };
    assert!(used("60") < 1.0, "{}", used("60"));
    assert!(used("10") > 1.0, "{}", used("10"));
}

#[test]
fn what_is_nearest_to_its_end_comes_first() {
    let needs = needs(&["--users", "50000", "--direct-messages", "7200"]);
    assert!(
        needs.limits[0].what.contains("appends") || needs.limits[0].what.contains("NATS"),
        "{:?}",
        needs.limits[0]
    );
    assert!(needs.limits.is_sorted_by(|a, b| a.used >= b.used));
}
