//! However a run ends, what was measured until then is reported, and no process stays behind.

use std::{path::Path, time::Duration};

use herald_tests::{
    eventually,
    gateway::dev_gateway,
    loadtest::{Report, Running, against, run, send, start},
    metrics::Metrics,
    process::Node,
};
use rustix::process::Signal;
use tokio::time::sleep;

use super::refs;

/// Longer than any test waits.
const LONG: [&str; 6] = ["--members", "10", "--duration", "60s", "--patience", "500ms"];

/// Until visitors have come.
const VISITS: Duration = Duration::from_secs(3);

/// Until it has connected and sends.
async fn under_way(gateway: &Node) {
    eventually("messages are sent", async || {
        let figures = Metrics::of(gateway.admin()).await;
        figures.sum("herald_router_messages_total", &[]) > 20.0
    })
    .await;
}

fn faults(report: &Report) -> String {
    report.json["faults"].to_string()
}

#[tokio::test]
async fn a_server_that_dies_costs_no_report() {
    let mut gateway = dev_gateway().await;
    let id = gateway.id();
    let load = ["group", "--members", "10", "--duration", "15s", "--patience", "500ms"];
    let running = start(&[&load[..], &refs(&against(&gateway))].concat());
    under_way(&gateway).await;
    gateway.kill();
    let report = running.report().await;
    assert_eq!(report.code, 1, "{}", report.text);
    let told = format!("server (process {id}) ended");
    assert!(faults(&report).contains(&told), "{}", report.text);
    assert!(
        report.text.contains(&told) && report.text.contains("after the beginning"),
        "{}",
        report.text
    );
    assert!(report.json["figures"]["cpu_us_per_connect"].is_number());
    assert!(report.page().contains(&told));
}

async fn stopped(more: &[&str], signal: Signal, code: i32, name: &str) {
    let gateway = dev_gateway().await;
    let running = start(&[&["group"], &LONG[..], more, &refs(&against(&gateway))].concat());
    under_way(&gateway).await;
    let workers = running.workers();
    running.signal(signal);
    let report = running.report().await;
    assert_eq!(report.code, code, "{}", report.text);
    assert_eq!(report.json["stopped"], name, "{}", report.text);
    assert_eq!(
        report.json["faults"].as_array().map(Vec::len),
        Some(0),
        "{}",
        report.text
    );
    assert!(
        report.json["counts"]["deliveries"].as_u64() > Some(0),
        "{}",
        report.text
    );
    assert!(report.page().contains(name));
    all_gone(&workers).await;
}

async fn all_gone(workers: &[u32]) {
    eventually("the workers have ended", async || {
        workers.iter().all(|id| !Path::new(&format!("/proc/{id}")).exists())
    })
    .await;
}

#[tokio::test]
async fn ctrl_c_ends_a_run_with_its_report() {
    stopped(&[], Signal::INT, 130, "SIGINT").await;
}

#[tokio::test]
async fn sigterm_ends_a_run_of_several_processes_with_its_report() {
    stopped(&["--processes", "2"], Signal::TERM, 143, "SIGTERM").await;
}

async fn of_two_workers() -> (Node, Running, Vec<u32>) {
    let gateway = dev_gateway().await;
    let two = ["group", "--processes", "2"];
    let running = start(&[&two[..], &LONG[..], &refs(&against(&gateway))].concat());
    under_way(&gateway).await;
    let workers = running.workers();
    assert_eq!(workers.len(), 2);
    (gateway, running, workers)
}

#[tokio::test]
async fn workers_end_with_the_load_test_however_it_ends() {
    let (_gateway, running, workers) = of_two_workers().await;
    running.signal(Signal::KILL);
    running.report().await;
    all_gone(&workers).await;
}

#[tokio::test]
async fn a_worker_that_is_killed_is_named() {
    let (_gateway, running, workers) = of_two_workers().await;
    send(workers[1], Signal::KILL);
    let report = running.report().await;
    assert_eq!(report.code, 1, "{}", report.text);
    let told = format!("(process {}) has ended too soon", workers[1]);
    assert!(
        faults(&report).contains(&told) && faults(&report).contains("SIGKILL"),
        "{}",
        report.text
    );
}

#[tokio::test]
async fn visitors_under_way_are_reported_after_a_stop() {
    let gateway = dev_gateway().await;
    let url = format!("http://{}", gateway.public());
    let running = start(&["http", "--duration", "60s", "--url", &url]);
    sleep(VISITS).await;
    running.signal(Signal::INT);
    let report = running.report().await;
    assert_eq!(report.code, 130, "{}", report.text);
    assert!(report.json["counts"]["requests"].as_u64() > Some(0), "{}", report.text);
}

#[tokio::test]
async fn cpu_of_a_short_run_is_seen_in_the_metrics() {
    let gateway = dev_gateway().await;
    let (url, metrics) = (
        format!("ws://{}/ws", gateway.public()),
        format!("http://{}/metrics", gateway.admin()),
    );
    let load = [
        "group",
        "--members",
        "20",
        "--duration",
        "2s",
        "--url",
        &url,
        "--metrics",
        &metrics,
    ];
    let report = run(&load).await;
    assert_eq!(report.code, 0, "{}", report.text);
    assert!(
        report.json["figures"]["cpu_us_per_delivery"].as_f64() > Some(0.0),
        "{}",
        report.text
    );
}
