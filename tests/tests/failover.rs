//! Leader, router and gateway killed under load, then a router that stands still: nothing lost, nothing out of order.

use std::time::Duration;

use herald_tests::failover::{Plan, run};

/// The full form is `bench-failover`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_while_everything_failed_in_turn_is_heard_once_and_in_one_order() {
    let plan = Plan {
        clients: 50,
        rate: 200,
        length: Duration::from_secs(28),
        apart: Duration::from_secs(5),
        pause: Duration::from_secs(6),
        settle: Duration::from_secs(60),
    };
    let report = run(plan).await;
    eprintln!("{report:#?}");
    assert!(report.is_good(), "{report:#?}");
    // Whether clients had to try again depends on how much the gateways' own retries hid.
    assert!(report.reconnects > 0, "something failed: {report:#?}");
}
