//! What all of one gateway's connections share, and how a client becomes connected.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use herald_proto::{
    CloseCode, ErrorCode,
    cluster::ConnectCommand,
    id,
    subject::{Names, escape},
};
use herald_router::{bus::Bus, config::Faults, failure::Failure};
use tokio::net::TcpStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    addresses::Addresses,
    auth::{Auth, AuthError, Identity},
    config::{GatewayConfig, LimitSettings},
    conn::{Conn, Member, flush::Flushers},
    dialect::Dialect,
    event::{Answer, ConnectOptions, Connected},
    hub::{Entered, Hub, Start},
    keeper::Keeper,
    metrics::Metrics,
    origin::Origins,
    presence::Presence,
    rate::Rate,
    reread,
    revoked::Revoked,
    routers::Routers,
};

/// How long a subscription outlives its last local member.
const LINGER: Duration = Duration::from_secs(5);
/// A connect waits at most this long until routers can know that the user is online. It is not refused for this.
const ANNOUNCE: Duration = Duration::from_secs(1);

/// How long a connect waits for a cluster that cannot be reached.
const PATIENCE: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(500);

pub struct Gateway {
    pub node: String,
    pub dev: bool,
    pub auth: Auth,
    pub limits: LimitSettings,
    pub origins: Origins,
    pub addresses: Addresses,
    pub hub: Arc<Hub>,
    pub routers: Routers,
    pub keeper: Arc<Keeper>,
    pub presence: Arc<Presence>,
    pub revoked: Revoked,
    bus: Bus,
    flushers: Flushers,
    pub metrics: Metrics,
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
            hub: Hub::new(bus.clone(), &names, LINGER, tasks.clone(), metrics.clone()),
            routers: Routers::new(bus.clone(), names, metrics.clone()),
            keeper: Keeper::new(limits.ping_interval, limits.pong_timeout),
            presence: Presence::new(bus.clone(), node.clone()),
            revoked: Revoked::default(),
            bus: bus.clone(),
            flushers: Flushers::new(&tasks, &metrics.bytes_out),
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
        tokio::join!(
            self.hub.clone().run(),
            self.keeper.clone().run(),
            self.presence.clone().run(self.hub.clone()),
            self.revoked.run(&self.bus, &self.hub),
            self.addresses.run(),
            self.flushers.run(),
            self.routers.run(&self.tasks),
            reread::run(self.clone()),
        );
    }

    /// A new connection, known to the drain from now on. Its guard goes with it.
    pub fn open(self: &Arc<Self>, dialect: Dialect, socket: TcpStream) -> (Arc<Conn>, OpenGuard) {
        let number = self.next_connection.fetch_add(1, Ordering::Relaxed);
        let outbox = usize::try_from(self.limits.outbox.as_u64()).unwrap_or(usize::MAX);
        let id = format!("{}-{number:x}", self.node);
        let conn = Conn::new(id, dialect, outbox, socket, self.flushers.assign());
        self.open.insert(number, conn.clone());
        let guard = OpenGuard {
            gateway: self.clone(),
            number,
        };
        (conn, guard)
    }

    pub fn command_rate(&self) -> Rate {
        if self.limits.rates_lifted {
            Rate::unlimited()
        } else {
            Rate::new(self.limits.commands_per_second, self.limits.commands_burst)
        }
    }

    /// Makes a client whose token has been verified a member of all that is its own, and welcomes it. After this,
    /// [`Self::disconnect`] must follow some day.
    pub async fn connect(
        &self,
        conn: &Arc<Conn>,
        id: Option<u32>,
        identity: &Identity,
        options: &ConnectOptions,
    ) -> Result<(), Failure> {
        let start = start(options)?;
        let user: Arc<str> = identity.user.as_str().into();
        let since = id::now_ms();
        conn.set_member(Member {
            user: user.clone(),
            device: options.device.as_deref().map(Into::into),
            since,
        });
        self.set_token(conn, identity);
        conn.outbox.hold();
        conn.progress.fell_behind();
        let entered = self.enter_patiently(conn, &user, identity, &start).await;
        conn.progress.caught_up();
        let mut entered = match entered {
            Ok(entered) => entered,
            Err(failure) => {
                conn.release(None);
                return Err(failure);
            }
        };
        let connected = Connected {
            user: identity.user.clone(),
            connection: conn.id.to_string(),
            node: self.node.clone(),
            groups: std::mem::take(&mut entered.groups),
            cursor: Some(entered.cursor.to_string()),
            resumed: entered.resumed,
            gap: entered.gap,
            ping: u32::try_from(self.limits.ping_interval.as_secs())
                .unwrap_or(u32::MAX)
                .max(1),
            expires: identity.expires,
            time: since,
        };
        let welcome = conn.dialect.answer(id, &Answer::Connected(Box::new(connected)));
        conn.release(Some(welcome));
        self.hub.follow(conn, entered);
        self.metrics.connected(conn.dialect);
        self.keeper.watch(conn);
        Ok(())
    }

    /// A cluster that fails over just now is waited for: refusing would only bring the client back at once.
    async fn enter_patiently(
        &self,
        conn: &Arc<Conn>,
        user: &Arc<str>,
        identity: &Identity,
        start: &Start,
    ) -> Result<Entered, Failure> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let failure = match self.enter(conn, user, identity, start).await {
                Err(failure) if failure.code.retry() => failure,
                outcome => return outcome,
            };
            if tokio::time::Instant::now() + RETRY > deadline || !conn.outbox.is_open() {
                return Err(failure);
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Who shows this token.
    pub fn identify(&self, token: &str) -> Result<Identity, AuthError> {
        let identity = self.auth.verify(token)?;
        match self.revoked.refuses(&identity.user, identity.issued) {
            true => Err(AuthError::Revoked),
            false => Ok(identity),
        }
    }

    /// Subscribed first, asked then: the router's answer proves that the server knows of the subscriptions.
    async fn enter(
        &self,
        conn: &Arc<Conn>,
        user: &Arc<str>,
        identity: &Identity,
        start: &Start,
    ) -> Result<Entered, Failure> {
        self.hub.announce(conn, user).await?;
        // From here on news of a revocation finds the connection; those that came before are found now.
        if self.revoked.refuses(user, identity.issued) {
            return Err(Failure::new(ErrorCode::Unauthorized, "the token is not valid"));
        }
        let command = ConnectCommand {
            user: identity.user.clone(),
            groups: identity.groups.clone(),
            dedup: format!("c.{}.0", escape(&conn.id)),
            node: String::new(),
        };
        let (told, ()) = tokio::join!(self.routers.connect(command), self.announced(user));
        Ok(self.hub.enter(conn, user, start, &told?.groups).await?)
    }

    /// Resolves when routers can know that the user is online, or after a moment.
    async fn announced(&self, user: &Arc<str>) {
        let written = self.presence.announce(user);
        let _in_time = tokio::time::timeout(ANNOUNCE, written).await.is_ok();
    }

    /// The connection's end, whatever came of its beginning.
    pub fn disconnect(&self, conn: &Arc<Conn>, welcomed: bool) {
        let Some(member) = conn.member() else {
            return;
        };
        self.hub.detach_all(conn, &member.user);
        self.presence.touch(&member.user);
        if welcomed {
            self.metrics.disconnected(conn.dialect);
        }
    }

    pub fn set_token(&self, conn: &Arc<Conn>, identity: &Identity) {
        conn.set_token(self.auth.connection_end(identity.expires), identity.issued);
        self.keeper.expire(conn);
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

/// From where on the client wants messages; fails for options that cannot be.
fn start(options: &ConnectOptions) -> Result<Start, Failure> {
    if let Some(device) = &options.device {
        id::check("device", device)?;
    }
    match (&options.cursor, options.since.as_deref()) {
        (None, None) => Ok(Start::Now),
        (None, Some("start")) => Ok(Start::Beginning),
        (None, Some(_)) => Err(Failure::bad_request("since must be \"start\"")),
        (Some(cursor), None) => match cursor.parse() {
            Ok(cursor) => Ok(Start::Cursor(cursor)),
            Err(_) => Err(Failure::bad_request("malformed cursor")),
        },
        (Some(_), Some(_)) => Err(Failure::bad_request("cursor and since exclude each other")),
    }
}

/// How a connect that failed ends the connection.
pub fn close_code(failure: &Failure) -> CloseCode {
    match failure.code {
        ErrorCode::BadRequest => CloseCode::NotTheProtocol,
        ErrorCode::Unauthorized | ErrorCode::Forbidden => CloseCode::Unauthorized,
        _ => CloseCode::Unavailable,
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
