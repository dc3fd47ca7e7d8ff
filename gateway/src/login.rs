//! Logging in: who it is, by the service that knows or by the accounts of the configuration; then a session, and a token
//! that names it.

use std::{net::IpAddr, time::Duration};

use bytes::Bytes;
use herald_proto::{
    ErrorCode,
    cluster::{ConnectCommand, Session},
    id, msg_id, subject,
};
use herald_router::{
    events::{Event, Kind},
    failure::Failure,
};
use serde_json::json;

use crate::{
    accounts::Busy,
    attempts::TooOften,
    auth::{
        SessionClaim,
        signer::{Grant, SignError},
    },
    config::GatewayConfig,
    gateway::Gateway,
    services::CallError,
    sessions::{self, Why},
};

pub(crate) mod answer;
mod backend;
mod reply;
mod who;

use answer::{Completed, Verdict, Welcome};
use who::Gatekeeper;

pub struct Login {
    gatekeeper: Gatekeeper,
    /// The service that completes the reply.
    then: Option<String>,
    reply_id: u32,
    pub secure_cookie: bool,
}

/// A login as it came.
pub struct Request<'a> {
    pub gateway: &'a Gateway,
    pub msg_id: u32,
    pub bytes: Bytes,
    /// The client's.
    pub address: IpAddr,
}

/// What the client is told.
#[derive(Debug)]
pub struct LoggedIn {
    pub reply_id: u32,
    pub reply: Bytes,
    /// With its end in Unix seconds. None: refused.
    pub token: Option<(String, u64)>,
}

#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    #[error("there is no key to sign tokens with")]
    NotServed,
    #[error("too many attempts")]
    TooOften(Duration),
    #[error("too many log in at once")]
    Busy,
    #[error("{0}")]
    BadRequest(String),
    #[error(transparent)]
    Backend(#[from] CallError),
    #[error("the service's answer makes no sense")]
    BadAnswer,
    #[error(transparent)]
    Inside(#[from] Failure),
}

impl From<TooOften> for LoginError {
    fn from(TooOften(wait): TooOften) -> Self {
        Self::TooOften(wait)
    }
}

impl From<Busy> for LoginError {
    fn from(Busy: Busy) -> Self {
        Self::Busy
    }
}

impl Login {
    pub fn new(config: &GatewayConfig) -> Self {
        Self {
            gatekeeper: Gatekeeper::new(config),
            then: config.login.then.clone(),
            reply_id: msg_id::string_hash(&config.login.reply),
            secure_cookie: config.session.secure_cookie.unwrap_or(!config.dev),
        }
    }

    /// Whether one of this address may try now.
    pub fn may_try(&self, address: IpAddr) -> Result<(), LoginError> {
        self.gatekeeper.may_try(address)
    }

    pub async fn log_in(&self, request: Request<'_>) -> Result<LoggedIn, LoginError> {
        if !request.gateway.auth.can_sign() {
            return Err(LoginError::NotServed);
        }
        let (verdict, reply_id) = self.gatekeeper.verdict(&request).await?;
        let reply_id = reply_id.unwrap_or(self.reply_id);
        let refused = |reply| LoggedIn {
            reply_id,
            reply,
            token: None,
        };
        let welcome = match verdict {
            Verdict::Refused(reply) => return Ok(refused(reply)),
            Verdict::Welcome(welcome) => welcome,
        };
        let session = sessions::new_id();
        let completed = match &self.then {
            Some(service) => backend::complete(&request, service, &welcome, &session).await?,
            None => Completed::default(),
        };
        let completed = match completed {
            Completed::Refused(reply) => return Ok(refused(reply)),
            Completed::With(completed) => completed,
        };
        let token = begin(&request, &welcome, &session).await?;
        Ok(LoggedIn {
            reply_id,
            reply: reply::to(&welcome, &completed),
            token: Some(token),
        })
    }
}

async fn begin(request: &Request<'_>, welcome: &Welcome, id: &str) -> Result<(String, u64), LoginError> {
    let Request { gateway, address, .. } = request;
    let Welcome { user, groups, .. } = welcome;
    if !groups.is_empty() {
        let command = ConnectCommand {
            user: user.clone(),
            groups: groups.clone(),
            dedup: format!("c.{}.0", subject::escape(id)),
            node: String::new(),
        };
        gateway.routers.connect(command).await?;
    }
    let session = Session {
        account: welcome.account.clone(),
        groups: groups.clone(),
        broadcast: welcome.broadcast,
        address: address.to_string(),
        ..Session::default()
    };
    let revoked = gateway.revoked.upto(user);
    let session = gateway.sessions.begin(user, id, session, revoked).await?;
    gateway.events.emit(Kind::Login, || {
        let (account, address) = (&session.account, &session.address);
        let more = json!({ "session": id, "account": account, "address": address });
        Event::new(Kind::Login, user.as_str(), more)
    });
    for older in gateway.sessions.to_make_way(user, id, &session).await? {
        gateway
            .sessions
            .end(&gateway.routers, user, &older, Why::Relogin)
            .await?;
    }
    Ok(token(gateway, user, id, &session)?)
}

/// The newest token of a session, and its end in Unix seconds.
pub fn token(gateway: &Gateway, user: &str, id: &str, session: &Session) -> Result<(String, u64), Failure> {
    let expires = session.expires / 1000;
    let claim = SessionClaim {
        id: id.to_owned(),
        generation: session.generation,
    };
    let mut grant = Grant {
        user,
        account: Some(&session.account),
        groups: &session.groups,
        broadcast: session.broadcast,
        // To the millisecond: one who was kicked in this very second has a token from after that.
        issued: id::now_ms().max(gateway.revoked.upto(user).map_or(0, |upto| upto + 1)),
        expires,
        session: Some(&claim),
    };
    let mut signed = gateway.auth.sign(&grant);
    if let Err(SignError::TooLong(_)) = signed {
        // They were joined at the login; only one who has left them meanwhile would notice.
        grant.groups = &[];
        signed = gateway.auth.sign(&grant);
    }
    let token = signed.map_err(|error| Failure::new(ErrorCode::Internal, error.to_string()))?;
    Ok((token, expires))
}
