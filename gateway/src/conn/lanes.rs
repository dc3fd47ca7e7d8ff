//! In what order one connection's commands are carried out: `send`, `join` and `leave` one after another, the others
//! beside them, a bounded number at once. Of these `watch` and `unwatch` come one after another as well, for the last
//! word on a user must win; and so do frames whose answers are told apart by nothing but their order.

use std::{collections::VecDeque, pin::Pin, sync::Arc};

use herald_proto::limits::CONCURRENT_COMMANDS;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Ordered commands that may wait; then the reader stops reading, which holds the client back.
const WAITING: usize = 64;

/// Made with a connection's first command: an idle one has none.
pub struct Lanes {
    tasks: TaskTracker,
    ordered: Queue,
    in_turn: Queue,
    room: Arc<Semaphore>,
    beside: Arc<Semaphore>,
    large: Arc<Semaphore>,
    /// Cancels what nobody will hear of.
    end: CancellationToken,
    _ends: DropGuard,
}

/// Jobs that are carried out one after another.
type Queue = Arc<Mutex<Waiting>>;

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    running: bool,
}

impl Lanes {
    pub fn new(tasks: TaskTracker) -> Self {
        let end = CancellationToken::new();
        Self {
            _ends: end.clone().drop_guard(),
            end,
            tasks,
            ordered: Queue::default(),
            in_turn: Queue::default(),
            room: Arc::new(Semaphore::new(WAITING)),
            beside: Arc::new(Semaphore::new(CONCURRENT_COMMANDS)),
            large: Arc::new(Semaphore::new(1)),
        }
    }

    /// Carries `job` out after all that were put here before. Waits for room.
    pub async fn in_order(&self, job: impl Future<Output = ()> + Send + 'static) {
        self.queue(&self.ordered, &self.room, job).await;
    }

    /// Carries `job` out after all that were put here before, and beside all others. Waits for room.
    pub async fn in_turn(&self, job: impl Future<Output = ()> + Send + 'static) {
        self.queue(&self.in_turn, &self.beside, job).await;
    }

    async fn queue(&self, queue: &Queue, room: &Arc<Semaphore>, job: impl Future<Output = ()> + Send + 'static) {
        let Ok(permit) = room.clone().acquire_owned().await else {
            return; // the semaphore is never closed
        };
        let job: Job = Box::pin(async move {
            job.await;
            drop(permit);
        });
        let start = {
            let mut waiting = queue.lock();
            waiting.jobs.push_back(job);
            !std::mem::replace(&mut waiting.running, true)
        };
        if start {
            self.tasks.spawn(run(queue.clone()));
        }
    }

    /// Whose answers may each fill half of an outbox take turns, so that no connection makes us hold many of them.
    pub fn large(&self) -> Arc<Semaphore> {
        self.large.clone()
    }

    /// Cancelled when the lanes are dropped, at the connection's end.
    pub fn end(&self) -> CancellationToken {
        self.end.clone()
    }

    /// Carries `job` out beside all others. Waits for room.
    pub async fn beside(&self, job: impl Future<Output = ()> + Send + 'static) {
        let Ok(permit) = self.beside.clone().acquire_owned().await else {
            return; // the semaphore is never closed
        };
        self.tasks.spawn(async move {
            job.await;
            drop(permit);
        });
    }
}

/// Works until nothing waits.
async fn run(queue: Queue) {
    loop {
        let job = {
            let mut waiting = queue.lock();
            let Some(job) = waiting.jobs.pop_front() else {
                waiting.running = false;
                return;
            };
            job
        };
        job.await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn ordered_commands_keep_their_order_and_others_pass_them() {
        let tasks = TaskTracker::new();
        let lanes = Lanes::new(tasks.clone());
        let done = Arc::new(Mutex::new(Vec::new()));
        let gate = Arc::new(Semaphore::new(0));
        for i in 0..50 {
            let (done, gate) = (done.clone(), gate.clone());
            lanes
                .in_order(async move {
                    if i == 0 {
                        gate.acquire().await.unwrap().forget();
                    }
                    done.lock().push(i);
                })
                .await;
        }
        let beside = done.clone();
        lanes.beside(async move { beside.lock().push(1000) }).await;
        while done.lock().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        gate.add_permits(1);
        tasks.close();
        tasks.wait().await;
        let expected: Vec<i32> = std::iter::once(1000).chain(0..50).collect();
        assert_eq!(*done.lock(), expected);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn watch_and_unwatch_keep_their_order_and_hold_nobody_up() {
        let tasks = TaskTracker::new();
        let lanes = Lanes::new(tasks.clone());
        let done = Arc::new(Mutex::new(Vec::new()));
        let gate = Arc::new(Semaphore::new(0));
        for i in 0..10 {
            let (done, gate) = (done.clone(), gate.clone());
            let job = async move {
                if i == 0 {
                    gate.acquire().await.unwrap().forget();
                }
                done.lock().push(i);
            };
            lanes.in_turn(job).await;
        }
        let (beside, ordered) = (done.clone(), done.clone());
        lanes.beside(async move { beside.lock().push(1000) }).await;
        lanes.in_order(async move { ordered.lock().push(1000) }).await;
        while done.lock().len() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        gate.add_permits(1);
        tasks.close();
        tasks.wait().await;
        let expected: Vec<i32> = [1000, 1000].into_iter().chain(0..10).collect();
        assert_eq!(*done.lock(), expected);
    }
}
