//! A few short seeds of `tests/chaos`, in which a cluster in network namespaces keeps its promises while it is broken; and beside
//! them some short days of `tests/soak`, after which nothing is left of what was taken.

use std::{path::Path, process::Stdio, time::Duration};

use herald_tests::{
    process::binary,
    soak::{Plan, run},
};
use tokio::{process::Command, time::timeout};

/// Of the seeds, one after another: each takes as long as presence takes to be right again after half of the clients have left.
const LONGEST: Duration = Duration::from_secs(600);
const NO_NAMESPACES: i32 = 77;

/// The full form is `tests/chaos --seeds 50 --secs 60`.
#[tokio::test]
async fn five_short_seeds_break_no_promise() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("chaos");
    let chaos = binary("chaos");
    let mut command = Command::new(script);
    command
        .args(["--seeds", "5", "--secs", "8"])
        .env("HERALD_BIN_DIR", chaos.parent().expect("a folder"))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(LONGEST, command.output())
        .await
        .expect("it ends")
        .expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let words = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(NO_NAMESPACES) {
        eprintln!("SKIPPED chaos: {}", words.trim());
        return;
    }
    eprintln!("{text}{words}");
    assert!(output.status.success(), "{}", output.status);
    assert!(text.contains("5 seeds of 8 s, 0 violations"), "a table: {text}");
}

/// The full form is `tests/soak`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_day_with_a_fault_all_returns_to_its_level() {
    let plan = Plan {
        days: 3,
        day: Duration::from_secs(7),
        rest: Duration::from_secs(8),
        apart: Duration::from_secs(5),
        clients: 60,
        rate: 30,
    };
    let outcome = run(plan).await;
    eprintln!("{outcome}");
    assert!(outcome.is_good(), "{outcome}");
}
