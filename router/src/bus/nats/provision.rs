//! One task that keeps the stream and the buckets there, and tells the state of the bus and the log's id.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use async_nats::jetstream::stream::{Config, Info};
use herald_proto::LogId;
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{NatsConfig, READ, Shared, error::ApiError, streams};
use crate::bus::{BusError, BusState};

mod correct;

/// How soon a deleted stream is noticed where nobody stumbles over it.
const CHECK: Duration = Duration::from_secs(5);
/// Between attempts to get there.
const RETRY: Duration = Duration::from_millis(500);
/// Checks that follow from trouble are spaced at least by this.
const SPACING: Duration = Duration::from_millis(100);
/// How often a cluster that could not place three replicas is asked again.
const SPREAD: Duration = Duration::from_secs(60);
const REPLICAS: usize = 3;
/// Characters of a trouble that are told: the server's own texts are shorter.
const TROUBLE: usize = 240;

/// Anybody may ask for it: one line, and not more than fits one.
pub(super) fn line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TROUBLE).collect()
}

pub(super) struct Supervisor {
    shared: Shared,
    config: NatsConfig,
    wanted: Vec<Config>,
    state: watch::Sender<BusState>,
    id: watch::Sender<Option<LogId>>,
    /// Corrected once per process: two routers of different configuration would else undo each other's work for ever.
    corrected: HashSet<String>,
    /// When the raise of a limit is to be noted as done, by stream.
    raised: HashMap<String, Instant>,
    spread: Option<Instant>,
    /// The trouble has been told.
    failing: bool,
}

impl Supervisor {
    pub(super) fn new(
        shared: Shared,
        config: NatsConfig,
        state: watch::Sender<BusState>,
        id: watch::Sender<Option<LogId>>,
    ) -> Self {
        Self {
            wanted: streams::wanted(&shared.names, &config.limits, config.events.as_ref()),
            shared,
            config,
            state,
            id,
            corrected: HashSet::new(),
            raised: HashMap::new(),
            spread: None,
            failing: false,
        }
    }

    pub(super) async fn run(mut self) {
        let shutdown = self.shared.shutdown.clone();
        shutdown.run_until_cancelled(self.keep()).await;
        self.shared.link.close().await;
    }

    async fn keep(&mut self) {
        let mut connection = self.shared.link.connection();
        let mut live = self.shared.wire.current();
        loop {
            let up = connection.borrow_and_update().up;
            live.mark_unchanged();
            let pause = if up { self.checked().await } else { self.lost() };
            tokio::select! {
                // An error means that the client has ended, which only shutdown brings about.
                Ok(()) = connection.changed() => {}
                Ok(()) = live.changed() => {}
                () = sleep(pause) => {}
                () = self.shared.look.notified(), if up => sleep(SPACING).await,
            }
        }
    }

    /// Why there is no connection the link tells.
    fn lost(&self) -> Duration {
        self.state.send_if_modified(|state| {
            let was_ready = *state == BusState::Ready;
            if was_ready {
                *state = BusState::Lost;
            }
            was_ready
        });
        CHECK
    }

    /// When to look again.
    async fn checked(&mut self) -> Duration {
        match self.check().await {
            Ok(id) => {
                let found = Some(id);
                self.id.send_if_modified(|id| {
                    let new = *id != found;
                    *id = found;
                    new
                });
                self.failing = false;
                if !self.comes_live() {
                    self.tell_trouble(Some("live copies do not come yet"));
                    return RETRY;
                }
                self.tell_trouble(None);
                self.set_state(BusState::Ready);
                CHECK
            }
            Err(ApiError::NotFound) => {
                self.tell_trouble(Some("no router has made them yet"));
                self.set_state(BusState::Starting);
                RETRY
            }
            // No leader, no answer: it may pass, and whoever uses the bus meets it by himself.
            Err(error) => {
                let error = BusError::from(error);
                self.tell_trouble(Some(&error.to_string()));
                if std::mem::replace(&mut self.failing, true) {
                    tracing::debug!(%error, "NATS' streams are still not ready");
                } else {
                    tracing::warn!(%error, "NATS' streams are not ready");
                }
                RETRY
            }
        }
    }

    /// At first, and after a loss. Where the connection for live copies alone is lost later, all else goes on, what is stored
    /// comes by the sweep, and the canary tells.
    fn comes_live(&self) -> bool {
        *self.state.borrow() == BusState::Ready || *self.shared.wire.current().borrow()
    }

    fn tell_trouble(&self, what: Option<&str>) {
        *self.shared.trouble.lock() = what.map(|what| line(&format!("NATS is not ready: {what}")));
    }

    fn set_state(&self, new: BusState) {
        self.state.send_if_modified(|state| {
            let changed = *state != new;
            *state = new;
            changed
        });
    }

    async fn check(&mut self) -> Result<LogId, ApiError> {
        let mut id = None;
        let spread = self.spread.is_none_or(|at| at.elapsed() >= SPREAD);
        for wanted in self.wanted.clone() {
            let info = match self.info(&wanted.name).await {
                Ok(info) => info,
                Err(ApiError::NotFound) if self.config.provision => self.create(&wanted).await?,
                Err(error) => return Err(error),
            };
            if self.config.provision && !self.correct(&wanted, &info, spread).await? {
                self.settle(&info).await?;
            }
            // The log's stream is the first of them.
            id.get_or_insert_with(|| {
                let created = info.created.unix_timestamp_nanos();
                LogId::new(u128::try_from(created).unwrap_or_default(), 1, 0)
            });
        }
        if spread {
            self.spread = Some(Instant::now());
        }
        id.ok_or(ApiError::NotFound)
    }

    async fn info(&self, stream: &str) -> Result<Info, ApiError> {
        let subject = format!("STREAM.INFO.{stream}");
        self.shared.link.api(&subject, &json!({}), READ).await
    }

    async fn create(&self, wanted: &Config) -> Result<Info, ApiError> {
        let subject = format!("STREAM.CREATE.{}", wanted.name);
        let choices = match self.config.limits.replicas {
            Some(replicas) => vec![replicas],
            None => vec![REPLICAS, 1],
        };
        let mut refused = ApiError::NotFound;
        for num_replicas in choices {
            let config = Config {
                num_replicas,
                ..wanted.clone()
            };
            // Placing a stream in a cluster takes longer than a read.
            match self.shared.link.api(&subject, &config, 3 * READ).await {
                Ok(info) => {
                    tracing::info!(stream = wanted.name, num_replicas, "created");
                    return Ok(info);
                }
                Err(ApiError::Replicas(why)) => refused = ApiError::Replicas(why),
                // Another router was faster, with other settings.
                Err(ApiError::NameTaken) => return self.info(&wanted.name).await,
                Err(error) => return Err(error),
            }
        }
        Err(refused)
    }
}
