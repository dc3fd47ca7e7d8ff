//! What cannot be run is refused at once, with 2 and with words that say what is wrong.

use std::time::{Duration, Instant};

use herald_tests::{gateway::dev_gateway, loadtest::run};

use super::refs;

/// More than anything takes that is refused; less than a server is waited for elsewhere.
const SOON: Duration = Duration::from_secs(8);

async fn refused(arguments: &[&str], words: &[&str]) {
    let begun = Instant::now();
    let report = run(arguments).await;
    assert_eq!(report.code, 2, "{arguments:?}: {}", report.text);
    assert!(begun.elapsed() < SOON, "{arguments:?} took {:?}", begun.elapsed());
    for word in words {
        assert!(report.text.contains(word), "{arguments:?}, no {word}: {}", report.text);
    }
}

#[tokio::test]
async fn settings_out_of_their_bounds_are_refused_with_them() {
    let settings = [
        ["--rate", "1e12", "10,000,000 (messages a second"],
        ["--rate", "nan", "10,000,000 (messages a second"],
        ["--rate", "inf", "10,000,000 (messages a second"],
        ["--rate", "-5", "10,000,000 (messages a second"],
        ["--rate", "0", "10,000,000 (messages a second"],
        ["--size", "99999999999", "16,777,216 (bytes"],
        ["--duration", "0s", "100ms to 30days"],
        ["--duration", "10", "with its unit"],
        ["--members", "0", "1 to 1,000,000"],
        ["--dial", "0", "1 to 100,000"],
        ["--processes", "0", "1 to 256"],
        ["--sources", "0", "1 to 254"],
        ["--sources", "70000", "1 to 254"],
        ["--groups", "0", "1 to 100,000"],
        ["--senders", "0", "1 to 10,000"],
        ["--burst", "0", "1 to 1,000,000"],
        ["--connect-rate", "0", "0.001 to 1,000,000"],
    ];
    for [option, value, bounds] in settings {
        refused(&["group", option, value], &[option, bounds]).await;
    }
    refused(&["unicast", "--clients", "0"], &["--clients", "1 to 1,000,000"]).await;
    let many = ["group", "--groups", "100000", "--members", "1000000"];
    refused(&many, &["--groups times --members"]).await;
}

#[tokio::test]
async fn what_a_target_does_not_have_is_refused() {
    for scenario in ["churn", "storm", "mixed", "soak"] {
        refused(
            &[scenario, "--target", "floor"],
            &["--target floor", "keeps no messages"],
        )
        .await;
    }
    refused(&["unicast", "--target", "nchan"], &["no messages to single users"]).await;
    refused(&["group", "--groups", "2", "--target", "ws-id"], &["--groups 1"]).await;
    refused(&["group", "--via", "socket", "--target", "pusher"], &["--via socket"]).await;
    refused(&["group", "--ephemeral", "--target", "floor"], &["--ephemeral"]).await;
    refused(&["http", "--target", "floor"], &["--target"]).await;
    refused(&["http", "--secret", "x"], &["--secret"]).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_soon_and_by_its_address() {
    let nobody = ["--url", "ws://127.0.0.1:1/ws"];
    for target in ["herald", "floor", "pusher", "nchan", "centrifugo", "ws-id"] {
        let arguments = [&["group", "--target", target][..], &nobody].concat();
        refused(&arguments, &["127.0.0.1:1", "refused"]).await;
    }
    refused(&["http", "--url", "http://127.0.0.1:1"], &["127.0.0.1:1"]).await;
}

#[tokio::test]
async fn a_wrong_secret_is_told_soon() {
    let gateway = dev_gateway().await;
    let url = format!("ws://{}/ws", gateway.public());
    let arguments = [
        "group",
        "--url",
        &url,
        "--secret",
        "a-secret-that-the-gateway-does-not-know",
    ];
    refused(&arguments, &["--secret"]).await;
}

#[tokio::test]
async fn a_report_that_cannot_be_written_is_told_before_the_run() {
    let gateway = dev_gateway().await;
    let url = format!("ws://{}/ws", gateway.public());
    for option in ["--out", "--html"] {
        let file = [option, "/nowhere/at/all"].map(str::to_owned);
        let arguments = [&["idle", "--clients", "1", "--url", &url][..], &refs(&file)].concat();
        refused(&arguments, &[option, "/nowhere/at/all"]).await;
    }
}
