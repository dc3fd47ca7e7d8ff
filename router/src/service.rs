//! Serves commands from the bus, as one of any number of equal routers in one queue group.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use herald_proto::cluster::MemberLeft;
use prost::Message;
use tokio::sync::{Semaphore, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{
    beat,
    bus::{Bucket, Bus, BusError, BusState, Request, Requests},
    core::Router,
    events::tell,
    health::{Canary, Condition},
    metrics,
    presence::Fact,
    telemetry::Span,
    watches,
};

/// Requests under way at once, each with one command or some dozens. What comes beyond waits in the subscription; each command
/// ends by its own deadline.
const AT_ONCE: usize = 2048;
/// After a drain has begun, requests that were already on their way are still served for this long.
const LINGER: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_millis(500);

/// A running router's readiness: it serves only while its watches are current.
#[derive(Clone)]
pub struct Readiness {
    bus: Bus,
    state: watch::Receiver<BusState>,
    watches: [watch::Receiver<bool>; 2],
    serving: watch::Receiver<bool>,
    canary: Arc<Canary>,
}

impl Readiness {
    /// What must hold, as it is now.
    pub fn conditions(&self) -> Vec<Condition> {
        let current = self.watches.iter().all(|w| *w.borrow());
        vec![
            Condition::new("bus", self.bus.check()),
            Condition::that("tables", current, "groups and presence are not known as they are now"),
            Condition::that("service", *self.serving.borrow(), "commands are not served"),
            Condition::new("canary", self.canary.check()),
        ]
    }

    fn current(&self) -> bool {
        *self.state.borrow() == BusState::Ready && self.watches.iter().all(|w| *w.borrow())
    }

    async fn changed(&mut self) {
        let [groups, presence] = &mut self.watches;
        // A sender that is gone ends with the process: nothing to wait for any more but shutdown.
        let gone = tokio::select! {
            r = self.state.changed() => r.is_err(),
            r = groups.changed() => r.is_err(),
            r = presence.changed() => r.is_err(),
        };
        if gone {
            std::future::pending::<()>().await;
        }
    }
}

/// Starts the watches, the beat and the service; returns at once.
/// `node` is this router's name, unique in the cluster.
pub fn start(router: Router, node: &str, shutdown: CancellationToken, tasks: &TaskTracker) -> Readiness {
    let (serving, seen) = watch::channel(false);
    let readiness = Readiness {
        bus: router.bus.clone(),
        state: router.bus.pubsub.state(),
        watches: watches::start(&router, node, &shutdown, tasks),
        serving: seen,
        canary: Arc::default(),
    };
    let (canary, bus, end) = (readiness.canary.clone(), router.bus.clone(), shutdown.clone());
    tasks.spawn(async move { end.run_until_cancelled(canary.run(&bus)).await });
    beat::start(
        router.bus.clone(),
        node.to_owned(),
        readiness.serving.clone(),
        shutdown.clone(),
        tasks,
    );
    let tell = tell::run(router.clone(), node.to_owned());
    let end = shutdown.clone();
    tasks.spawn(async move { end.run_until_cancelled(tell).await });
    let mut state = readiness.clone();
    let commands = tasks.clone();
    tasks.spawn(async move {
        while !shutdown.is_cancelled() {
            let wait = async {
                while !state.current() {
                    state.changed().await;
                }
            };
            if shutdown.run_until_cancelled(wait).await.is_none() {
                return;
            }
            match subscribe(&router).await {
                Ok(incoming) => {
                    serving.send_replace(true);
                    metrics::serving(true);
                    info!("serving commands");
                    serve(&router, incoming, state.clone(), &shutdown, &commands).await;
                    serving.send_replace(false);
                    metrics::serving(false);
                }
                Err(error) => {
                    warn!(%error, "cannot serve commands yet");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    });
    readiness
}

/// What comes to a serving router.
struct Incoming {
    requests: Requests,
    /// Who has left a group through another router.
    leaves: Requests,
}

async fn subscribe(router: &Router) -> Result<Incoming, BusError> {
    let pubsub = &router.bus.pubsub;
    let incoming = Incoming {
        leaves: pubsub.subscribe(&router.names.left()).await?,
        requests: pubsub.queue_subscribe(&router.names.command("*"), "router").await?,
    };
    // Any answer proves that the server knows of the subscriptions: whoever hears that this router is ready may ask it.
    let any = Fact::Router { node: "any" }.key();
    router.bus.kv.get(Bucket::Presence, &any).await?;
    Ok(incoming)
}

impl Incoming {
    /// The next request. What other routers said before it came is known by then: who was told `left` must not send
    /// through this router any more, though the watch does not say so yet.
    async fn next(&mut self, router: &Router) -> Option<Request> {
        let request = loop {
            tokio::select! {
                request = self.requests.next() => break request,
                left = self.leaves.next() => hear_of_leave(router, left?),
            }
        };
        while let Some(left) = self.leaves.try_next() {
            hear_of_leave(router, left);
        }
        request
    }
}

fn hear_of_leave(router: &Router, left: Request) {
    match MemberLeft::decode(left.payload) {
        Ok(left) if left.user.is_empty() => router.directory.write().delete_group(&left.group, left.sequence),
        Ok(left) => router.directory.write().leave(&left.group, &left.user, left.sequence),
        Err(error) => warn!(%error, "an unreadable word from another router"),
    }
}

/// Until shutdown, or until the tables are no longer current.
async fn serve(
    router: &Router,
    mut incoming: Incoming,
    mut state: Readiness,
    shutdown: &CancellationToken,
    tasks: &TaskTracker,
) {
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        tokio::select! {
            request = incoming.next(router) => match request {
                Some(request) => spawn(router, request, &permits, tasks).await,
                None => return,
            },
            () = shutdown.cancelled() => break,
            () = state.changed() => if !state.current() { break },
        }
    }
    // Ends early where the bus says that nothing more can come.
    let rest = async {
        incoming.requests.unsubscribe().await;
        while let Some(request) = incoming.next(router).await {
            spawn(router, request, &permits, tasks).await;
        }
    };
    let _ended_early = tokio::time::timeout(LINGER, rest).await.is_ok();
}

async fn spawn(router: &Router, request: Request, permits: &Arc<Semaphore>, tasks: &TaskTracker) {
    let arrived = Instant::now();
    let Ok(permit) = permits.clone().acquire_owned().await else {
        return; // the semaphore is never closed
    };
    let router = router.clone();
    tasks.spawn(async move {
        let verb = request.subject.rsplit('.').next().unwrap_or_default();
        let span = Span::remote("handle", request.headers.get("traceparent"));
        span.text("herald.verb", verb);
        let answer = span.within(router.handle(verb, request.payload)).await;
        span.end();
        metrics::command_took(verb, arrived.elapsed());
        if let Err(error) = request.reply.send(answer).await {
            warn!(%error, "an answer could not be sent");
        }
        drop(permit);
    });
}

#[cfg(test)]
mod tests;
