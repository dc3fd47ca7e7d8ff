//! What all of one gateway's connections share, and how a client becomes connected.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future;
use herald_proto::subject::Names;
use herald_router::{bus::Bus, config::Faults, events::Emitter, health::Canary};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

use crate::{
    addresses::Addresses,
    auth::{Auth, Identity},
    capacity::{Capacity, Full},
    config::GatewayConfig,
    conn::{Conn, flush::Flushers, sink::Sink, socket::Socket},
    cursors::Cursors,
    dialect::Dialect,
    elsewhere,
    hooks::Hooks,
    hub::Hub,
    limits::Limits,
    login::Login,
    metrics::{Metrics, Stage},
    origin::Origins,
    paths::Paths,
    payload,
    post::Callers,
    presence::{Away, Local, Presence},
    probe::Probe,
    proxies::Proxies,
    reread,
    revoked::Revoked,
    routers::Routers,
    services::{Routes, Services},
    sessions::Sessions,
    told,
    watching::Watching,
};

/// How long an HTTP request waits for a node that is not well, and how often it looks.
const SETTLING: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How often it is looked at what waits in the outboxes.
const SAMPLE: Duration = Duration::from_secs(5);
/// How long a subscription outlives its last local member.
const LINGER: Duration = Duration::from_secs(5);

mod article;
mod connect;
mod draining;
mod happened;

pub use connect::{Admitted, Refused, start};

pub struct Gateway {
    pub node: String,
    pub dev: bool,
    pub auth: Auth,
    pub limits: Arc<Limits>,
    /// Whether a router answers, and whether what is stored comes back.
    pub probe: Probe,
    pub canary: Canary,
    /// Room for clients and their sockets.
    pub capacity: Arc<Capacity>,
    pub origins: Origins,
    pub addresses: Addresses,
    pub proxies: Proxies,
    pub login: Login,
    pub hub: Arc<Hub>,
    pub routers: Routers,
    /// The application's backends.
    pub services: Services,
    /// Which of them decide with us.
    pub hooks: Hooks,
    /// Which of them gets what.
    pub routes: Routes,
    /// The articles' dialects, and what holds for each.
    pub paths: Paths,
    pub presence: Arc<Presence>,
    pub away: Arc<Away>,
    pub revoked: Revoked,
    pub sessions: Sessions,
    pub watching: Arc<Watching>,
    cursors: Cursors,
    bus: Bus,
    names: Names,
    flushers: Flushers,
    pub metrics: Metrics,
    /// What happens here, for the application.
    pub events: Emitter,
    /// How often the users of `/command` and `/poll` may come.
    pub callers: Callers,
    /// Tasks of connections and commands.
    pub tasks: TaskTracker,
    /// No new connections.
    pub stop: CancellationToken,
    next_connection: AtomicU64,
    open: draining::Open,
}

impl Gateway {
    /// `config` has been checked.
    pub fn new(config: &GatewayConfig, node: String, bus: &Bus, stop: CancellationToken) -> Result<Arc<Self>, Faults> {
        let metrics = Metrics::new();
        let tasks = TaskTracker::new();
        let limits = Limits::new(config.limits.clone());
        let names = Names::new(config.nats.prefix.clone());
        let services = Services::new(config, bus, &names)?;
        Ok(Arc::new(Self {
            hooks: Hooks::new(&config.hooks, &services),
            services,
            auth: Auth::new(&config.auth)?,
            origins: Origins::new(&config.public.origins, config.dev),
            addresses: Addresses::new(limits.clone()),
            proxies: Proxies::new(&config.public.trusted_proxies, config.public.client_address),
            login: Login::new(config),
            hub: Hub::new(bus.clone(), &names, LINGER, tasks.clone(), metrics.clone()),
            routes: Routes::new(config),
            routers: Routers::new(bus.clone(), names.clone(), metrics.clone()),
            paths: Paths::new(&config.dialects, limits.clone()),
            presence: Presence::new(bus.clone(), node.clone()),
            away: Arc::default(),
            revoked: Revoked::default(),
            sessions: Sessions::new(bus.clone(), config.session.terms(), config.session.relogin),
            watching: Arc::new(Watching::new(
                bus.clone(),
                &node,
                limits.clone(),
                config.presence.grace,
                metrics.clone(),
            )),
            probe: Probe::default(),
            canary: Canary::default(),
            cursors: Cursors::new(bus.clone(), config.log.max_age),
            bus: bus.clone(),
            names,
            flushers: Flushers::new(&tasks, &metrics),
            callers: Callers::new(limits.clone()),
            events: Emitter::new(&node, config.told()),
            dev: config.dev,
            node,
            capacity: Capacity::new(limits.clone()),
            limits,
            metrics,
            tasks,
            stop,
            next_connection: AtomicU64::new(1),
            open: dashmap::DashMap::new(),
        }))
    }

    /// The work that goes on beside the connections; ends when dropped.
    pub async fn run(self: Arc<Self>) {
        let (told, asked) = (self.names.node(&self.node), self.names.node_connections(&self.node));
        let keepers: Vec<_> = self.paths.keepers().map(|keeper| keeper.clone().run()).collect();
        let here = Local {
            hub: self.hub.clone(),
            away: self.away.clone(),
        };
        tokio::join!(
            self.hub.clone().run(),
            future::join_all(keepers),
            self.presence.clone().run(Arc::new(here)),
            self.revoked.run(&self.bus, &self.hub),
            told::run(&self.bus, &told, &self.hub),
            elsewhere::run(&self.bus, &asked, &self.hub),
            self.watching.run(&self.routers),
            self.addresses.run(),
            self.capacity.run(),
            self.probe.run(&self.routers),
            self.canary.run(&self.bus),
            self.sessions.run(),
            self.cursors.run(),
            self.callers.run(),
            self.flushers.run(),
            self.clone().sample(),
            self.routers.run(&self.tasks),
            self.events.run(&self.bus),
            payload::run(&self.bus, &self.paths),
            reread::run(self.clone()),
        );
    }

    /// What nobody counts as it comes and goes is looked at now and then; works until dropped.
    async fn sample(self: Arc<Self>) {
        loop {
            let gateway = self.clone();
            // Of very many connections it takes milliseconds.
            let looked = tokio::task::spawn_blocking(move || {
                let waiting = gateway.open.iter().map(|conn| conn.outbox.waiting());
                let (bytes, largest) = waiting.fold((0, 0), |(sum, most), bytes| (sum + bytes, bytes.max(most)));
                gateway.metrics.holds(gateway.hub.user_count(), bytes, largest);
            });
            // It fails only at the runtime's end.
            let _looked = looked.await;
            tokio::time::sleep(SAMPLE).await;
        }
    }

    /// A node that has only just started, or has just lost NATS, is mostly well again in a moment: that is waited for, for
    /// a client that asks would only come again.
    pub async fn settled(&self) {
        let well = || self.bus.check().is_ok() && self.revoked.is_known();
        let wait = async {
            while !well() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let _in_time = tokio::time::timeout(SETTLING, wait).await.is_ok();
    }

    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Fails while nobody is let in.
    pub fn accepts(&self) -> Result<(), Full> {
        match self.stop.is_cancelled() {
            true => Err(Full::Draining),
            false => Ok(()),
        }
    }

    /// A new connection, known to the drain from now on. Its guard goes with it.
    pub fn open(self: &Arc<Self>, dialect: Dialect, sink: Sink, client: IpAddr) -> (Arc<Conn>, OpenGuard) {
        let number = self.next_connection.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}-{number:x}", self.node);
        let conn = Conn::new(id, dialect, self.paths.outbox(dialect), sink, client);
        self.staged(&conn, Some(Stage::Connecting));
        self.open.insert(number, conn.clone());
        let guard = OpenGuard {
            gateway: self.clone(),
            number,
        };
        (conn, guard)
    }

    /// A WebSocket's sink, with its share of a flusher. None: the socket is brought later.
    pub fn socket(&self, socket: Option<Socket>) -> Sink {
        Sink::socket(socket, self.flushers.assign())
    }

    /// The connection's end, whatever came of its beginning.
    pub fn disconnect(&self, conn: &Arc<Conn>) {
        if let Some(user) = self.detach(conn) {
            self.presence.touch(&user);
        }
    }

    /// The same, but that its user may have gone is yet to be told, of the one returned.
    pub fn detach(&self, conn: &Arc<Conn>) -> Option<Arc<str>> {
        let before = self.staged(conn, Some(Stage::Closing));
        if before == Some(Stage::Connected) {
            self.tell_disconnected(conn);
        }
        debug!(connection = &*conn.id, ending = ?conn.outbox.ending(), "closed");
        let member = conn.member()?;
        self.leave_position(conn, &member.user);
        self.hub.detach_all(conn, &member.user);
        self.watching.leave(conn);
        conn.counts().then_some(member.user)
    }

    /// The connection has come so far. None: it is no longer there. How far it was before.
    fn staged(&self, conn: &Conn, stage: Option<Stage>) -> Option<Stage> {
        let before = conn.stage.swap(stage);
        self.metrics.stage(conn.dialect, before, stage);
        before
    }

    pub fn set_token(&self, conn: &Arc<Conn>, identity: &Identity) {
        conn.set_token(self.auth.connection_end(identity.expires), identity);
        self.paths.terms(conn.dialect).keeper.expire(conn);
    }

    /// What clients have proven to have received is kept. For the end, behind all connections.
    pub async fn keep_cursors(&self) {
        self.cursors.write().await;
    }

    /// How many connections there are, known or not.
    pub fn open_connections(&self) -> usize {
        self.open.len()
    }

    /// Closes all connections over `window`.
    pub async fn drain(&self, window: Duration) {
        draining::close_all(&self.open, window).await;
    }
}

/// The connection's place in the table of open ones.
pub struct OpenGuard {
    pub gateway: Arc<Gateway>,
    number: u64,
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        if let Some((_, conn)) = self.gateway.open.remove(&self.number) {
            self.gateway.staged(&conn, None);
        }
    }
}
