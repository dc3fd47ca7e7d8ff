//! How a client whose token has been verified becomes connected.

use std::{borrow::Cow, sync::Arc, time::Duration};

use bytes::Bytes;
use herald_proto::{
    CloseCode, ErrorCode, Target,
    cluster::{ConnectCommand, ConnectionInfo, Replace, ReplaceCommand, UserConnection},
    dedup, id,
    subject::escape,
};
use herald_router::{bus::BusError, failure::Failure, telemetry::Span};
use tracing::debug;

use super::Gateway;
use crate::{
    auth::{AuthError, Identity},
    conn::{Conn, Member},
    crowd::{self, Verdict},
    dialect::Keeps,
    elsewhere,
    event::{Answer, ConnectOptions, Connected, Tag},
    hub::{Entered, Start},
    metrics::{self, Stage},
    presence,
};

/// A connect waits at most this long until routers can know that the user is online. It is not refused for this.
const ANNOUNCE: Duration = Duration::from_secs(1);

/// How long a connect waits for a cluster that cannot be reached.
const PATIENCE: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(500);

/// Why a connect failed, and with which code the connection ends for it.
#[derive(Debug)]
pub struct Refused {
    pub failure: Failure,
    pub code: CloseCode,
}

/// A client who is a member of all that is its own, and has yet to be welcomed.
pub struct Admitted {
    welcome: Bytes,
    entered: Entered,
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        let code = match failure.code {
            ErrorCode::BadRequest => CloseCode::NotTheProtocol,
            ErrorCode::Unauthorized | ErrorCode::Forbidden => CloseCode::Unauthorized,
            _ => CloseCode::Unavailable,
        };
        Self { failure, code }
    }
}

impl From<BusError> for Refused {
    fn from(error: BusError) -> Self {
        Failure::from(error).into()
    }
}

impl Gateway {
    /// Makes a client whose token has been verified a member of all that is its own, and welcomes it. After this,
    /// [`Self::disconnect`] must follow some day.
    pub async fn connect(
        &self,
        conn: &Arc<Conn>,
        tag: &Tag,
        identity: &Identity,
        options: &ConnectOptions,
    ) -> Result<(), Refused> {
        let admitted = self.prepare(conn, tag, identity, options).await?;
        self.welcome(conn, admitted);
        Ok(())
    }

    /// All of [`Self::connect`] but the welcome: from here on nothing that is stored is missed. What comes waits.
    pub async fn prepare(
        &self,
        conn: &Arc<Conn>,
        tag: &Tag,
        identity: &Identity,
        options: &ConnectOptions,
    ) -> Result<Admitted, Refused> {
        let start = match conn.dialect.keeps() {
            Keeps::Client => start(options)?,
            Keeps::Server | Keeps::Nobody => self.kept_start(conn.dialect, &identity.user).await?,
        };
        let mut entered = self.begin(conn, identity, &start, options.device.as_deref()).await?;
        let connected = Connected {
            user: identity.user.clone(),
            connection: conn.id.to_string(),
            node: self.node.clone(),
            groups: std::mem::take(&mut entered.groups),
            cursor: Some(entered.cursor.to_string()),
            resumed: entered.resumed,
            gap: entered.gap,
            ping: u32::try_from(self.limits.now().ping_interval.as_secs())
                .unwrap_or(u32::MAX)
                .max(1),
            expires: identity.expires,
            time: id::now_ms(),
        };
        let welcome = conn.dialect.answer(tag, &Answer::Connected(Box::new(connected)));
        self.keep_start(conn, &identity.user, &start, &entered).await;
        Ok(Admitted { welcome, entered })
    }

    /// Lets out what has waited, and gives what was missed.
    pub fn welcome(&self, conn: &Arc<Conn>, admitted: Admitted) {
        conn.release(Some(admitted.welcome));
        self.hub.follow(conn, admitted.entered);
        conn.welcomed();
        self.paths.terms(conn.dialect).keeper.watch(conn);
    }

    /// The same without a welcome: what comes from now on waits until the outbox is released, and what was missed until
    /// the hub is told to follow.
    pub async fn begin(
        &self,
        conn: &Arc<Conn>,
        identity: &Identity,
        start: &Start,
        device: Option<&str>,
    ) -> Result<Entered, Refused> {
        let identity = &*self.allowed(conn, identity, device).await?;
        let user: Arc<str> = identity.user.as_str().into();
        conn.set_member(Member {
            user: user.clone(),
            device: device.map(Into::into),
            since: id::now_ms(),
            session: None,
        });
        self.set_token(conn, identity);
        conn.outbox.hold();
        conn.progress.fell_behind();
        let span = Span::root("connect");
        span.text("herald.connection", &conn.id);
        span.text("herald.dialect", conn.dialect.name());
        let entered = span.within(self.enter_patiently(conn, &user, identity, start)).await;
        if let Err(refused) = &entered {
            span.failed(refused.failure.code.as_str());
        }
        span.end();
        conn.progress.caught_up();
        if entered.is_err() {
            conn.release(None);
            return entered;
        }
        if conn.counts() {
            conn.set_present();
            self.announced(&user).await;
        }
        self.staged(conn, Some(Stage::Connected));
        self.tell_connected(conn);
        let (connection, dialect) = (&*conn.id, conn.dialect.name());
        debug!(connection, dialect, ?user, device = ?device, "connected");
        if let (Start::Cursor(_), Ok(entered)) = (start, &entered) {
            metrics::resumed(entered.resumed, entered.gap);
        }
        entered
    }

    /// The application may refuse it, and may know of groups that the token does not name.
    async fn allowed<'a>(
        &self,
        conn: &Conn,
        identity: &'a Identity,
        device: Option<&str>,
    ) -> Result<Cow<'a, Identity>, Refused> {
        let session = identity.session.as_ref().map(|session| session.id.as_str());
        let hook = self
            .hooks
            .connect(&self.services, conn, &identity.user, session, device);
        let groups = hook.await?;
        if groups.is_empty() {
            return Ok(Cow::Borrowed(identity));
        }
        let mut identity = identity.clone();
        identity.groups.extend(groups);
        Ok(Cow::Owned(identity))
    }

    /// A cluster that fails over just now is waited for: refusing would only bring the client back at once.
    async fn enter_patiently(
        &self,
        conn: &Arc<Conn>,
        user: &Arc<str>,
        identity: &Identity,
        start: &Start,
    ) -> Result<Entered, Refused> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let refused = match self.enter(conn, user, identity, start).await {
                Err(refused) if refused.failure.code.retry() => refused,
                outcome => return outcome,
            };
            if tokio::time::Instant::now() + RETRY > deadline || !conn.outbox.is_open() {
                return Err(refused);
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Who shows this token. Whether its session stands is not asked here: see [`Self::authenticate`].
    pub fn identify(&self, token: &str) -> Result<Identity, AuthError> {
        let identity = self.auth.verify(token)?;
        match self.revoked.refuses(&identity.user, identity.issued) {
            true => Err(AuthError::Revoked),
            false => Ok(identity),
        }
    }

    /// Who shows this token, whose session stands if it has one.
    pub async fn authenticate(&self, token: &str) -> Result<Identity, AuthError> {
        let identity = self.identify(token)?;
        let Some(session) = &identity.session else {
            return Ok(identity);
        };
        match self.sessions.stands(&identity.user, &session.id).await {
            Ok(true) => Ok(identity),
            Ok(false) => Err(AuthError::NoSession),
            Err(error) => {
                debug!(%error, "a session could not be looked up");
                Err(AuthError::Unavailable)
            }
        }
    }

    /// Subscribed first, asked then: the router's answer proves that the server knows of the subscriptions.
    async fn enter(
        &self,
        conn: &Arc<Conn>,
        user: &Arc<str>,
        identity: &Identity,
        start: &Start,
    ) -> Result<Entered, Refused> {
        self.hub.announce(conn, user).await?;
        // From here on news of a revocation, or of the session's end, finds the connection; what came before is found now.
        let ended = match &identity.session {
            Some(session) => !self.sessions.stands_now(user, &session.id).await?,
            None => false,
        };
        if ended || self.revoked.refuses(user, identity.issued) {
            return Err(Failure::new(ErrorCode::Unauthorized, "the token is not valid").into());
        }
        let command = ConnectCommand {
            user: identity.user.clone(),
            groups: identity.groups.clone(),
            dedup: format!("c.{}.0", escape(&conn.id)),
            node: self.node.clone(),
        };
        let told = self.routers.connect(command).await?;
        let replaced = match self.admit(conn, user, &told.connections) {
            // Routers are a moment behind: one who was counted may have gone, with its node even.
            Err(_) if !told.connections.is_empty() => {
                let now = elsewhere::ask(&self.bus, &self.names, user, &told.connections).await;
                self.admit(conn, user, &now)?
            }
            admitted => admitted?,
        };
        let entered = self.hub.enter(conn, user, start, &told.groups).await?;
        self.replace(conn, user, replaced);
        Ok(entered)
    }

    /// Resolves when routers can know that the user is online, or after a moment.
    async fn announced(&self, user: &Arc<str>) {
        let written = self.presence.announce(user);
        let _in_time = tokio::time::timeout(ANNOUNCE, written).await.is_ok();
    }

    /// Which connections make way for this one; fails where there are too many.
    fn admit(&self, conn: &Arc<Conn>, user: &str, elsewhere: &[UserConnection]) -> Result<Vec<String>, Refused> {
        let Some(new) = presence::info(conn) else {
            return Ok(Vec::new());
        };
        let here = self.hub.local_connections(user);
        // Those that came later find this one; were it to find them as well, each would end the other.
        let here = here
            .iter()
            .filter(|other| serial(&other.id) < serial(&conn.id) && other.outbox.is_open());
        let here = here.filter_map(presence::info);
        let others: Vec<ConnectionInfo> = here.chain(crowd::elsewhere(elsewhere)).collect();
        let rules = self.limits.now().crowd();
        match rules.on_connect(&new, &others) {
            Verdict::Replaces(ids) => Ok(ids),
            Verdict::TooMany => {
                let most = rules.most;
                Err(Refused {
                    failure: Failure::forbidden(format!("a user may have {most} connections")),
                    code: CloseCode::TooManyConnections,
                })
            }
        }
    }

    /// Those here make way at once, those elsewhere by word in the user's log.
    fn replace(&self, conn: &Arc<Conn>, user: &Arc<str>, ids: Vec<String>) {
        if ids.is_empty() {
            return;
        }
        let here = self.hub.local_connections(user);
        let (local, elsewhere): (Vec<String>, Vec<String>) = ids
            .into_iter()
            .partition(|id| here.iter().any(|other| *other.id == **id));
        for other in here.iter().filter(|other| local.iter().any(|id| **id == *other.id)) {
            other.close(CloseCode::Replaced);
        }
        if elsewhere.is_empty() {
            return;
        }
        let by = conn.id.to_string();
        let origin = dedup::Origin::Command {
            connection: &conn.id,
            serial: 0,
        };
        let replaces = elsewhere.into_iter().map(|connection| Replace {
            connection,
            by: by.clone(),
        });
        let command = ReplaceCommand {
            user: user.to_string(),
            replaces: replaces.collect(),
            dedup: dedup::id(origin, &Target::user(&**user)),
        };
        let routers = self.routers.clone();
        self.tasks.spawn(async move {
            if let Err(failure) = routers.replace(&command).await {
                // What is too much is looked for again every now and then.
                debug!(%failure, "older connections could not be told to make way");
            }
        });
    }
}

/// A connection's place among those of its node.
fn serial(id: &str) -> u64 {
    let serial = id.rsplit('-').next().unwrap_or_default();
    u64::from_str_radix(serial, 16).unwrap_or(u64::MAX)
}

/// From where on the client wants messages; fails for options that cannot be.
pub fn start(options: &ConnectOptions) -> Result<Start, Failure> {
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
