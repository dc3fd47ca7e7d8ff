//! The requests of one HTTP/2 connection, each a task of its own.

use std::{future::Future, time::Duration};

use hyper::rt::Executor;
use tokio::{sync::watch, time::timeout};
use tokio_util::task::TaskTracker;

use super::Cut;

tokio::task_local! {
    /// Of the request whose task this is.
    static OWN: Cut;
}

/// Runs the requests, and knows whether there are any.
#[derive(Clone)]
pub(super) struct Streams {
    tasks: TaskTracker,
    /// How many there are.
    open: watch::Sender<usize>,
}

impl Streams {
    pub fn new(tasks: TaskTracker) -> Self {
        Self {
            tasks,
            open: watch::Sender::new(0),
        }
    }

    /// Resolves once there has been no request for so long.
    pub async fn idle(&self, time: Duration) {
        let mut open = self.open.subscribe();
        loop {
            // The sender is held by this very value, so that neither can fail.
            let _none = open.wait_for(|open| *open == 0).await.is_ok();
            if timeout(time, open.changed()).await.is_err() {
                return;
            }
        }
    }
}

/// What ends the request that is being answered by this task, and no other of its connection.
pub(super) fn cut() -> Option<Cut> {
    OWN.try_with(Clone::clone).ok()
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, request: F) {
        let cut = Cut::default();
        let place = Place::take(&self.open);
        self.tasks.spawn(OWN.scope(cut.clone(), async move {
            tokio::select! {
                () = request => {}
                // Dropped, the stream is reset.
                () = cut.cut() => {}
            }
            drop(place);
        }));
    }
}

struct Place(watch::Sender<usize>);

impl Place {
    fn take(open: &watch::Sender<usize>) -> Self {
        open.send_modify(|open| *open += 1);
        Self(open.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const SHORT: Duration = Duration::from_millis(100);

    #[tokio::test]
    async fn a_cut_ends_one_request_and_no_other() {
        let tasks = TaskTracker::new();
        let streams = Streams::new(tasks.clone());
        let (give, mut given) = tokio::sync::mpsc::unbounded_channel();
        for _ in 0..2 {
            let give = give.clone();
            streams.execute(async move {
                give.send(cut()).unwrap();
                std::future::pending().await
            });
        }
        let (first, _second) = (
            given.recv().await.flatten().unwrap(),
            given.recv().await.flatten().unwrap(),
        );
        let mut open = streams.open.subscribe();
        first.now();
        open.wait_for(|open| *open == 1).await.unwrap();
        assert!(timeout(SHORT, open.wait_for(|open| *open == 0)).await.is_err());
        assert!(cut().is_none(), "no request's task");
    }

    #[tokio::test]
    async fn a_connection_is_idle_only_when_it_has_no_request_for_a_while() {
        let tasks = TaskTracker::new();
        let streams = Streams::new(tasks.clone());
        let begun = Instant::now();
        streams.execute(tokio::time::sleep(3 * SHORT));
        streams.idle(SHORT).await;
        assert!(begun.elapsed() >= 4 * SHORT);
    }
}
