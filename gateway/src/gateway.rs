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
use herald_proto::{CloseCode, subject::Names};
use herald_router::{bus::Bus, config::Faults};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    addresses::Addresses,
    auth::{Auth, Identity},
    config::{GatewayConfig, LimitSettings},
    conn::{Conn, flush::Flushers, sink::Sink, socket::Socket},
    crowd::Rules,
    cursors::Cursors,
    dialect::{Dialect, Keeps},
    elsewhere,
    hub::Hub,
    login::Login,
    metrics::Metrics,
    origin::Origins,
    paths::Paths,
    post::Callers,
    presence::Presence,
    proxies::Proxies,
    rate::Rate,
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
/// How long a subscription outlives its last local member.
const LINGER: Duration = Duration::from_secs(5);

mod article;
mod connect;

pub use connect::{Refused, start};

pub struct Gateway {
    pub node: String,
    pub dev: bool,
    pub auth: Auth,
    pub limits: LimitSettings,
    pub origins: Origins,
    pub addresses: Addresses,
    pub proxies: Proxies,
    pub login: Login,
    pub hub: Arc<Hub>,
    pub routers: Routers,
    /// The application's backends.
    pub services: Services,
    /// Which of them gets what.
    pub routes: Routes,
    /// The articles' dialects, and what holds for each.
    pub paths: Paths,
    pub presence: Arc<Presence>,
    pub revoked: Revoked,
    pub sessions: Sessions,
    pub watching: Arc<Watching>,
    /// How many connections a user may have.
    pub crowd: Rules,
    cursors: Cursors,
    bus: Bus,
    names: Names,
    flushers: Flushers,
    pub metrics: Metrics,
    /// How often the users of `/command` and `/poll` may come.
    pub callers: Callers,
    /// Tasks of connections and commands.
    pub tasks: TaskTracker,
    /// No new connections.
    pub stop: CancellationToken,
    next_connection: AtomicU64,
    open: dashmap::DashMap<u64, Arc<Conn>>,
}

impl Gateway {
    /// `config` has been checked.
    pub fn new(config: &GatewayConfig, node: String, bus: &Bus, stop: CancellationToken) -> Result<Arc<Self>, Faults> {
        let metrics = Metrics::new();
        let tasks = TaskTracker::new();
        let limits = config.limits.clone();
        let names = Names::new(config.nats.prefix.clone());
        Ok(Arc::new(Self {
            auth: Auth::new(&config.auth)?,
            origins: Origins::new(&config.public.origins, config.dev),
            addresses: Addresses::new(&limits),
            proxies: Proxies::new(&config.public.trusted_proxies, config.public.client_address),
            login: Login::new(config),
            hub: Hub::new(bus.clone(), &names, LINGER, tasks.clone(), metrics.clone()),
            services: Services::new(config, bus, &names)?,
            routes: Routes::new(config),
            routers: Routers::new(bus.clone(), names.clone(), metrics.clone()),
            paths: Paths::new(&config.dialects, &limits),
            presence: Presence::new(bus.clone(), node.clone()),
            revoked: Revoked::default(),
            sessions: Sessions::new(bus.clone(), config.session.terms(), config.session.relogin),
            watching: Arc::new(Watching::new(
                bus.clone(),
                &node,
                limits.watches_per_connection as usize,
                config.presence.grace,
                metrics.clone(),
            )),
            crowd: limits.crowd(),
            cursors: Cursors::new(bus.clone(), config.log.max_age),
            bus: bus.clone(),
            names,
            flushers: Flushers::new(&tasks, &metrics.bytes_out),
            callers: Callers::new(&limits),
            dev: config.dev,
            node,
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
        tokio::join!(
            self.hub.clone().run(),
            future::join_all(keepers),
            self.presence.clone().run(self.hub.clone()),
            self.revoked.run(&self.bus, &self.hub),
            told::run(&self.bus, &told, &self.hub),
            elsewhere::run(&self.bus, &asked, &self.hub),
            self.watching.run(&self.routers),
            self.addresses.run(),
            self.sessions.run(),
            self.cursors.run(),
            self.callers.run(),
            self.flushers.run(),
            self.routers.run(&self.tasks),
            reread::run(self.clone()),
        );
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

    /// A new connection, known to the drain from now on. Its guard goes with it.
    pub fn open(self: &Arc<Self>, dialect: Dialect, sink: Sink, client: IpAddr) -> (Arc<Conn>, OpenGuard) {
        let number = self.next_connection.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}-{number:x}", self.node);
        let conn = Conn::new(id, dialect, self.paths.terms(dialect).outbox, sink, client);
        self.open.insert(number, conn.clone());
        let guard = OpenGuard {
            gateway: self.clone(),
            number,
        };
        (conn, guard)
    }

    /// A WebSocket's sink.
    pub fn socket(&self, socket: Socket) -> Sink {
        Sink::Socket {
            socket,
            flusher: self.flushers.assign(),
        }
    }

    pub fn command_rate(&self) -> Rate {
        self.limits.command_rate()
    }

    /// The connection's end, whatever came of its beginning.
    pub fn disconnect(&self, conn: &Arc<Conn>, welcomed: bool) {
        if let Some(user) = self.detach(conn, welcomed) {
            self.presence.touch(&user);
        }
    }

    /// The same, but that its user may have gone is yet to be told, of the one returned.
    pub fn detach(&self, conn: &Arc<Conn>, welcomed: bool) -> Option<Arc<str>> {
        let member = conn.member()?;
        if conn.dialect.keeps() == Keeps::Server {
            self.cursors.hurry(&member.user, conn.dialect.name());
        }
        self.hub.detach_all(conn, &member.user);
        self.watching.leave(conn);
        if welcomed {
            self.metrics.disconnected(conn.dialect);
        }
        conn.counts().then_some(member.user)
    }

    pub fn set_token(&self, conn: &Arc<Conn>, identity: &Identity) {
        conn.set_token(self.auth.connection_end(identity.expires), identity);
        self.paths.terms(conn.dialect).keeper.expire(conn);
    }

    /// What clients have proven to have received is kept. For the end, behind all connections.
    pub async fn keep_cursors(&self) {
        self.cursors.write().await;
    }

    /// Closes all connections, spread evenly over `window`, so that clients do not come back all at once.
    pub async fn drain(&self, window: Duration) {
        let conns: Vec<Arc<Conn>> = self.open.iter().map(|entry| entry.value().clone()).collect();
        if conns.is_empty() {
            return;
        }
        let started = tokio::time::Instant::now();
        let count = u32::try_from(conns.len()).unwrap_or(u32::MAX);
        for (i, conn) in (0..count).zip(&conns) {
            tokio::time::sleep_until(started + window * i / count).await;
            conn.close(CloseCode::ShuttingDown);
        }
        // Those that came while the listener was being closed.
        for entry in &self.open {
            entry.value().close(CloseCode::ShuttingDown);
        }
    }
}

/// The connection's place in the table of open ones.
pub struct OpenGuard {
    gateway: Arc<Gateway>,
    number: u64,
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.gateway.open.remove(&self.number);
    }
}
