//! Every node is replaced under load, behind haproxy: nothing is lost, nobody is away for long, and not all are cut at once.

use std::time::Duration;

use herald_tests::restarts::{Plan, run};

/// The full form is `bench-rolling-restart`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_of_every_node_loses_nothing_and_cuts_nobody_off_for_long() {
    let plan = Plan {
        gateways: 2,
        routers: 2,
        clients: 150,
        rate: 75,
        drain: Duration::from_secs(4),
    };
    let outcome = run(plan).await;
    eprintln!("{outcome:#?}");
    assert!(outcome.messages.is_good(), "{outcome:#?}");
    assert!(outcome.longest < Duration::from_secs(15), "{outcome:#?}");
    for window in &outcome.windows {
        // Of those 75 or so that an even spread puts 7.5 of into each tenth.
        assert!(
            window.0.iter().sum::<usize>() > 30,
            "its clients were told to go: {outcome:#?}"
        );
        assert!(window.peak() < 4.0, "closes are spread: {outcome:#?}");
    }
}
