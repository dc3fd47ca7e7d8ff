//! In what order one connection's commands are carried out: `send`, `join` and `leave` one after another, the others
//! beside them, a bounded number at once. Of these `watch` and `unwatch` come one after another as well, for the last
//! word on a user must win; and so do frames whose answers are told apart by nothing but their order.

use std::{collections::VecDeque, future::Future, sync::Arc};

use herald_proto::limits::CONCURRENT_COMMANDS;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// Ordered commands that may wait; then the reader stops reading, which holds the client back.
const WAITING: usize = 64;

/// A command that waits as it came: what carries it out is made when its turn has come.
pub trait Job: Send + 'static {
    fn run(self) -> impl Future<Output = ()> + Send;
}

/// Made with a connection's first command: an idle one has none.
pub struct Lanes<O, T> {
    tasks: TaskTracker,
    ordered: Arc<Lane<O>>,
    in_turn: Arc<Lane<T>>,
    beside: Arc<Semaphore>,
    large: Arc<Semaphore>,
    /// Cancels what nobody will hear of.
    end: CancellationToken,
    _ends: DropGuard,
}

impl<O: Job, T: Job> Lanes<O, T> {
    pub fn new(tasks: TaskTracker) -> Self {
        let end = CancellationToken::new();
        let beside = Arc::new(Semaphore::new(CONCURRENT_COMMANDS));
        Self {
            _ends: end.clone().drop_guard(),
            end,
            tasks,
            ordered: Lane::new(Arc::new(Semaphore::new(WAITING))),
            in_turn: Lane::new(beside.clone()),
            beside,
            large: Arc::new(Semaphore::new(1)),
        }
    }

    /// Carries `job` out after all that were put here before. Waits for room.
    pub async fn in_order(&self, job: O) {
        self.ordered.put(job, &self.tasks).await;
    }

    /// Carries `job` out after all that were put here before, and beside all others. Waits for room.
    pub async fn in_turn(&self, job: T) {
        self.in_turn.put(job, &self.tasks).await;
    }

    /// Carries `job` out beside all others. Waits for room.
    pub async fn beside(&self, job: T) {
        let Ok(permit) = self.beside.clone().acquire_owned().await else {
            return; // the semaphore is never closed
        };
        self.tasks.spawn(async move {
            job.run().await;
            drop(permit);
        });
    }

    /// Whose answers may each fill half of an outbox take turns, so that no connection makes us hold many of them.
    pub fn large(&self) -> Arc<Semaphore> {
        self.large.clone()
    }

    /// Cancelled when the lanes are dropped, at the connection's end.
    pub fn end(&self) -> CancellationToken {
        self.end.clone()
    }
}

/// Jobs that are carried out one after another.
struct Lane<J> {
    waiting: Mutex<Waiting<J>>,
    room: Arc<Semaphore>,
}

struct Waiting<J> {
    /// What came while another was carried out: mostly nothing.
    jobs: VecDeque<J>,
    running: bool,
}

impl<J: Job> Lane<J> {
    fn new(room: Arc<Semaphore>) -> Arc<Self> {
        let waiting = Waiting {
            jobs: VecDeque::new(),
            running: false,
        };
        Arc::new(Self {
            waiting: Mutex::new(waiting),
            room,
        })
    }

    async fn put(self: &Arc<Self>, job: J, tasks: &TaskTracker) {
        match self.room.acquire().await {
            Ok(room) => room.forget(), // until the job is done
            Err(_) => return,          // the semaphore is never closed
        }
        {
            let mut waiting = self.waiting.lock();
            if waiting.running {
                return waiting.jobs.push_back(job);
            }
            waiting.running = true;
        }
        tasks.spawn(self.clone().run(job));
    }

    /// Works until nothing waits.
    async fn run(self: Arc<Self>, first: J) {
        let mut next = Some(first);
        while let Some(job) = next {
            job.run().await;
            self.room.add_permits(1);
            next = self.next();
        }
    }

    fn next(&self) -> Option<J> {
        let mut waiting = self.waiting.lock();
        let next = waiting.jobs.pop_front();
        if next.is_none() {
            waiting.running = false;
            // A connection that has said much once costs no more than others.
            waiting.jobs = VecDeque::new();
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::Pin, time::Duration};

    use super::*;

    impl<F: Future<Output = ()> + Send + 'static> Job for F {
        async fn run(self) {
            self.await;
        }
    }

    type Any = Pin<Box<dyn Future<Output = ()> + Send>>;

    #[tokio::test(flavor = "multi_thread")]
    async fn ordered_commands_keep_their_order_and_others_pass_them() {
        let tasks = TaskTracker::new();
        let lanes = Lanes::<Any, Any>::new(tasks.clone());
        let done = Arc::new(Mutex::new(Vec::new()));
        let gate = Arc::new(Semaphore::new(0));
        for i in 0..50 {
            let (done, gate) = (done.clone(), gate.clone());
            let job = async move {
                if i == 0 {
                    gate.acquire().await.unwrap().forget();
                }
                done.lock().push(i);
            };
            lanes.in_order(Box::pin(job)).await;
        }
        let beside = done.clone();
        lanes.beside(Box::pin(async move { beside.lock().push(1000) })).await;
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
        let lanes = Lanes::<Any, Any>::new(tasks.clone());
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
            lanes.in_turn(Box::pin(job)).await;
        }
        let (beside, ordered) = (done.clone(), done.clone());
        lanes.beside(Box::pin(async move { beside.lock().push(1000) })).await;
        lanes.in_order(Box::pin(async move { ordered.lock().push(1000) })).await;
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
