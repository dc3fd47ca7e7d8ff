//! The progress bar.

use std::{future::Future, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::sleep;

/// Between two looks.
const GLANCE: Duration = Duration::from_millis(250);

pub fn bar(quiet: bool) -> ProgressBar {
    let target = if quiet {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr()
    };
    let bar = ProgressBar::with_draw_target(Some(0), target);
    let style = ProgressStyle::with_template("{msg:32} {bar:40} {percent:>3} % {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// Keeps the bar moving while something goes on.
pub async fn glance<T>(
    bar: &ProgressBar,
    what: &str,
    total: u64,
    at: impl Fn() -> u64,
    work: impl Future<Output = T>,
) -> T {
    bar.set_length(total);
    bar.set_position(0);
    bar.set_message(what.to_owned());
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = sleep(GLANCE) => bar.set_position(at().min(total)),
        }
    }
}
