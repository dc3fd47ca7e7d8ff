//! All clients of a killed gateway come to another at once.

use std::{env, time::Duration};

use herald_tests::storm;

/// `HERALD_STORM=5000` for the full size; the figures are `bench-storm`'s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clients_of_a_killed_gateway_return_soon_cheaply_and_miss_nothing() {
    let clients = env::var("HERALD_STORM").map_or(500, |count| count.parse().expect("a number"));
    let report = storm::run(clients).await;
    eprintln!("{report:#?}");
    assert_eq!((report.lost, report.late, report.gaps), (0, 0, 0), "{report:#?}");
    assert!(report.connected <= Duration::from_secs(10), "{report:#?}");
    assert!(
        report.requests() <= report.bar(),
        "{} requests: {report:#?}",
        report.requests()
    );
    assert_eq!(report.consumers, 0, "{report:#?}");
}
