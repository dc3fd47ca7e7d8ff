//! The load test does what its users rely on: every scenario runs against a real gateway, and what is lost, doubled or out
//! of order is never called good. How fast anything is, is no matter here.

use herald_tests::{
    cluster::Cluster,
    gateway::dev_gateway,
    loadtest::{Fault, Floor, Unreliable, against, run},
    process::Node,
};
use serde_json::Value;

#[path = "loadtest/endings.rs"]
mod endings;
#[path = "loadtest/refusals.rs"]
mod refusals;

/// Runs a scenario against a gateway of its own; it must be good.
async fn smoke(arguments: &[&str]) -> Value {
    let gateway = dev_gateway().await;
    smoke_of(&gateway, arguments).await
}

async fn smoke_of(gateway: &Node, arguments: &[&str]) -> Value {
    let report = run(&[arguments, &refs(&against(gateway))].concat()).await;
    assert_eq!(report.code, 0, "{}", report.text);
    report.json
}

fn refs(all: &[String]) -> Vec<&str> {
    all.iter().map(String::as_str).collect()
}

#[tokio::test]
async fn idle_connections_are_counted() {
    let report = smoke(&["idle", "--clients", "50", "--groups", "5", "--duration", "1s"]).await;
    assert_eq!(report["counts"]["connects"], 50);
    assert!(report["figures"]["rss_kib_per_connection"].is_number());
}

#[tokio::test]
async fn one_to_one_messages_all_arrive() {
    let report = smoke(&["unicast", "--clients", "20", "--rate", "50", "--duration", "2s"]).await;
    assert_eq!(report["counts"]["messages_sent"], 100);
    assert_eq!(report["counts"]["deliveries"], 100);
    assert_eq!(report["latencies"]["delivery"]["count"], 100);
    assert_eq!(report["latencies"]["answer"]["count"], 100);
}

#[tokio::test]
async fn as_many_as_fit_all_arrive() {
    let report = smoke(&["unicast", "--clients", "20", "--flat-out", "2000", "--senders", "4"]).await;
    assert_eq!(report["counts"]["deliveries"], 2000);
}

#[tokio::test]
async fn every_member_of_every_group_hears_its_messages() {
    let report = smoke(&[
        "group",
        "--groups",
        "3",
        "--members",
        "10",
        "--rate",
        "60",
        "--duration",
        "2s",
        "--burst",
        "6",
    ])
    .await;
    // Forty messages to each group, heard by ten members and the sender.
    assert_eq!(report["counts"]["deliveries"], 3 * 40 * 11);
}

#[tokio::test]
async fn messages_may_be_posted_in_place_of_sent() {
    let report = smoke(&[
        "group",
        "--members",
        "10",
        "--duration",
        "1s",
        "--via",
        "api",
        "--ephemeral",
    ])
    .await;
    assert_eq!(report["counts"]["deliveries"], 1000);
}

#[tokio::test]
async fn clients_speak_protobuf() {
    let report = smoke(&[
        "group",
        "--target",
        "herald-proto",
        "--members",
        "10",
        "--duration",
        "1s",
    ])
    .await;
    assert_eq!(report["counts"]["deliveries"], 1100);
}

#[tokio::test]
async fn several_processes_share_the_clients() {
    let report = smoke(&[
        "group",
        "--members",
        "10",
        "--groups",
        "2",
        "--duration",
        "1s",
        "--processes",
        "3",
    ])
    .await;
    assert_eq!(report["counts"]["connects"], 20);
    assert_eq!(report["counts"]["deliveries"], 1100);
}

#[tokio::test]
async fn broadcasts_reach_everybody() {
    let report = smoke(&["broadcast", "--clients", "30", "--rate", "10", "--duration", "1s"]).await;
    assert_eq!(report["counts"]["deliveries"], 10 * 31);
}

#[tokio::test]
async fn those_that_leave_and_come_back_miss_nothing() {
    let churn = [
        "churn",
        "--clients",
        "40",
        "--groups",
        "4",
        "--leave-rate",
        "20",
        "--away",
        "300ms",
        "--duration",
        "3s",
    ];
    let report = smoke(&churn).await;
    assert!(report["counts"]["connects"].as_u64() > Some(40));
    assert_eq!(report["counts"]["lost"], 0);
}

#[tokio::test]
async fn a_storm_loses_nothing_over_nats() {
    let cluster = Cluster::start(1, 1).await;
    let storm = [
        "storm",
        "--clients",
        "60",
        "--groups",
        "6",
        "--duration",
        "4s",
        "--jitter",
        "300ms",
    ];
    let report = smoke_of(&cluster.gateways[0], &storm).await;
    assert_eq!(report["counts"]["connects"], 120);
    assert!(report["figures"]["back_after_seconds"].is_number());
}

#[tokio::test]
async fn visitors_log_in_send_refresh_and_log_out() {
    let gateway = dev_gateway().await;
    let url = format!("http://{}", gateway.public());
    let report = run(&[
        "http",
        "--rate",
        "10",
        "--messages",
        "2",
        "--duration",
        "1s",
        "--url",
        &url,
    ])
    .await;
    assert_eq!(report.code, 0, "{}", report.text);
    assert_eq!(report.json["counts"]["requests"], 10 * 5);
    assert_eq!(report.json["latencies"]["message"]["count"], 20);
}

#[tokio::test]
async fn a_day_of_a_game_loses_nothing() {
    let report = smoke(&["mixed", "--clients", "30", "--groups", "3", "--duration", "5s"]).await;
    assert!(report["counts"]["deliveries"].as_u64() > Some(30));
}

#[tokio::test]
async fn a_soak_tells_what_grows() {
    let report = smoke(&["soak", "--clients", "20", "--groups", "2", "--duration", "6s"]).await;
    assert!(
        report["figures"]["growth_kib_server"].is_number(),
        "{}",
        report["figures"]
    );
}

#[tokio::test]
async fn the_floor_delivers_and_is_compared_with() {
    let floor = Floor::start().await;
    let url = format!("ws://{}", floor.address);
    let report = run(&[
        "group",
        "--target",
        "floor",
        "--url",
        &url,
        "--members",
        "10",
        "--duration",
        "1s",
    ])
    .await;
    assert_eq!(report.code, 0, "{}", report.text);
    assert_eq!(report.json["counts"]["deliveries"], 1000);
    let gateway = dev_gateway().await;
    let ours = run(&[
        &["group", "--members", "10", "--duration", "1s"][..],
        &refs(&against(&gateway)),
    ]
    .concat())
    .await;
    let compared = report.compared_with(&ours).await;
    assert!(compared.contains("deliveries per second"), "{compared}");
    assert!(compared.contains("B / A"), "{compared}");
}

#[tokio::test]
async fn a_report_is_one_page_that_needs_nothing_else() {
    let gateway = dev_gateway().await;
    let arguments = ["group", "--members", "10", "--duration", "2s", "--name", "<a & b>"];
    let report = run(&[&arguments[..], &refs(&against(&gateway))].concat()).await;
    let page = report.page();
    assert!(page.contains("<svg"), "{page}");
    assert!(page.contains("&lt;a &amp; b&gt;"), "names are text and no markup");
    for outside in ["http://", "https://", "<script", "<link", "src="] {
        assert!(!page.contains(outside), "{outside} in the page");
    }
}

/// A run against a server with a fault fails, and says which.
async fn fails(fault: Fault, count: &str) {
    let server = Unreliable::start(fault).await;
    let url = format!("ws://{}/ws", server.address);
    let report = run(&[
        "group",
        "--members",
        "5",
        "--duration",
        "1s",
        "--patience",
        "500ms",
        "--url",
        &url,
    ])
    .await;
    assert_eq!(report.code, 1, "{fault:?} was not noticed: {}", report.text);
    assert!(
        report.json["counts"][count].as_u64() > Some(0),
        "{count}: {}",
        report.text
    );
    assert!(report.text.contains("FAULT"), "{}", report.text);
    assert!(!report.text.contains("good:"), "{}", report.text);
}

#[tokio::test]
async fn a_server_without_a_fault_is_good() {
    let server = Unreliable::start(Fault::None).await;
    let url = format!("ws://{}/ws", server.address);
    let report = run(&["group", "--members", "5", "--duration", "1s", "--url", &url]).await;
    assert_eq!(report.code, 0, "{}", report.text);
    assert_eq!(report.json["counts"]["deliveries"], 100 * 6);
}

#[tokio::test]
async fn a_server_that_loses_messages_is_not_good() {
    fails(Fault::Loses, "lost").await;
}

#[tokio::test]
async fn a_server_that_changes_the_order_is_not_good() {
    fails(Fault::Reorders, "out_of_order").await;
}

#[tokio::test]
async fn a_server_that_delivers_twice_is_not_good() {
    fails(Fault::Doubles, "delivered_twice").await;
}

#[tokio::test]
async fn a_server_that_refuses_messages_is_not_good() {
    fails(Fault::Refuses, "messages_refused").await;
}

#[tokio::test]
async fn a_server_that_closes_connections_is_not_good() {
    fails(Fault::Closes, "connections_closed_by_the_server").await;
}
