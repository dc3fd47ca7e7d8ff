//! Logging in: who it is, by the service that knows or by the accounts of the configuration; then a session, and a token
//! that names it.

use std::{net::IpAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use herald_proto::{
    ErrorCode,
    cluster::{ConnectCommand, Session},
    id,
    login::{Reply as LoginReply, Request as LoginRequest},
    msg_id, subject,
};
use herald_router::failure::Failure;
use prost::Message;

use crate::{
    accounts::{Accounts, Busy},
    attempts::{Attempts, TooOften},
    auth::{SessionClaim, signer::Grant, unix_now},
    config::{AUTH, GatewayConfig, LoginSettings},
    gateway::Gateway,
    services::CallError,
    sessions,
};

mod answer;
mod backend;

use answer::{Completed, Verdict, Welcome};

pub struct Login {
    settings: LoginSettings,
    knows: Knows,
    attempts: Option<Attempts>,
    reply_id: u32,
    pub secure_cookie: bool,
}

/// Who knows who somebody is.
enum Knows {
    Service(String),
    Accounts(Accounts),
    /// `--dev`: every account has every password.
    Anybody,
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
        let settings = config.login.clone();
        let knows = match (&settings.service, Accounts::new(&settings.accounts)) {
            (Some(service), _) => Knows::Service(service.clone()),
            (None, Some(accounts)) => Knows::Accounts(accounts),
            (None, None) if config.dev => Knows::Anybody,
            (None, None) => Knows::Service(AUTH.to_owned()),
        };
        Self {
            knows,
            attempts: Attempts::new(&settings, config.limits.rates_lifted),
            reply_id: msg_id::string_hash(&settings.reply),
            secure_cookie: config.session.secure_cookie.unwrap_or(!config.dev),
            settings,
        }
    }

    pub fn may_try(&self, address: IpAddr) -> Result<(), LoginError> {
        match &self.attempts {
            Some(attempts) => Ok(attempts.from_address(address)?),
            None => Ok(()),
        }
    }

    pub async fn log_in(
        &self,
        gateway: &Gateway,
        msg_id: u32,
        body: Bytes,
        address: IpAddr,
    ) -> Result<LoggedIn, LoginError> {
        if !gateway.auth.can_sign() {
            return Err(LoginError::NotServed);
        }
        let (verdict, reply_id) = self.verdict(gateway, msg_id, &body, address).await?;
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
        let completed = self
            .complete(gateway, msg_id, body, &welcome, &session, address)
            .await?;
        let completed = match completed {
            Completed::Refused(reply) => return Ok(refused(reply)),
            Completed::With(completed) => completed,
        };
        let token = self.begin(gateway, &welcome, &session, address).await?;
        Ok(LoggedIn {
            reply_id,
            reply: reply(&welcome, &completed),
            token: Some(token),
        })
    }

    /// Counts as a failed attempt of the account unless it comes out otherwise.
    async fn verdict(
        &self,
        gateway: &Gateway,
        msg_id: u32,
        body: &Bytes,
        address: IpAddr,
    ) -> Result<(Verdict, Option<u32>), LoginError> {
        // Backends may take logins of any form; whatever reads as the article's names an account.
        let request = LoginRequest::decode(body.clone());
        let account = request
            .as_ref()
            .map_or("", |request| request.account.as_str())
            .to_owned();
        let attempts = self.attempts.as_ref().filter(|_| !account.is_empty());
        if let Some(attempts) = attempts {
            attempts.of_account(&account)?;
        }
        let verdict = match &self.knows {
            Knows::Service(service) => backend::verdict(gateway, service, msg_id, body, address).await,
            Knows::Accounts(accounts) => self.by_accounts(accounts, request).await.map(|verdict| (verdict, None)),
            Knows::Anybody => anybody(request).map(|verdict| (verdict, None)),
        };
        if let Some(attempts) = attempts
            && !matches!(verdict, Ok((Verdict::Refused(_), _)))
        {
            attempts.succeeded(&account);
        }
        verdict
    }

    async fn by_accounts(&self, accounts: &Accounts, request: Parsed) -> Result<Verdict, LoginError> {
        let LoginRequest { account, password } = request.map_err(no_login)?;
        Ok(match accounts.verify(&account, password).await? {
            Some(known) => Verdict::Welcome(Welcome {
                account,
                groups: known.groups.clone(),
                broadcast: known.broadcast,
                ..Welcome::named(known.user())
            }),
            None => Verdict::refused(self.settings.refused_code),
        })
    }

    async fn complete(
        &self,
        gateway: &Gateway,
        msg_id: u32,
        body: Bytes,
        welcome: &Welcome,
        session: &str,
        address: IpAddr,
    ) -> Result<Completed, LoginError> {
        match &self.settings.then {
            Some(service) => backend::complete(gateway, service, msg_id, body, welcome, session, address).await,
            None => Ok(Completed::default()),
        }
    }

    async fn begin(
        &self,
        gateway: &Gateway,
        welcome: &Welcome,
        id: &str,
        address: IpAddr,
    ) -> Result<(String, u64), LoginError> {
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
        let session = gateway.sessions.begin(user, id, session).await?;
        for older in gateway.sessions.to_make_way(user, id, &session).await? {
            gateway.sessions.end(&gateway.routers, user, &older, true).await?;
        }
        Ok(self.token(gateway, user, id, &session)?)
    }

    /// The newest token of a session, and its end in Unix seconds.
    pub fn token(&self, gateway: &Gateway, user: &str, id: &str, session: &Session) -> Result<(String, u64), Failure> {
        let expires = session.expires / 1000;
        let claim = SessionClaim {
            id: id.to_owned(),
            generation: session.generation,
        };
        let grant = Grant {
            user,
            account: Some(&session.account),
            groups: &session.groups,
            broadcast: session.broadcast,
            issued: unix_now(),
            expires,
            session: Some(&claim),
        };
        let signed = gateway.auth.sign(&grant);
        let token = signed.map_err(|error| Failure::new(ErrorCode::Internal, error.to_string()))?;
        Ok((token, expires))
    }
}

type Parsed = Result<LoginRequest, prost::DecodeError>;

fn no_login(_: prost::DecodeError) -> LoginError {
    LoginError::BadRequest("bytes: no login".to_owned())
}

fn anybody(request: Parsed) -> Result<Verdict, LoginError> {
    let account = request.map_err(no_login)?.account;
    id::check("account", &account).map_err(|error| LoginError::BadRequest(error.to_string()))?;
    Ok(Verdict::Welcome(Welcome::named(&account)))
}

/// The application's own bytes where it gave them, with what the second service has added: protobuf messages that are
/// put one behind the other read as one.
fn reply(welcome: &Welcome, completed: &answer::Completion) -> Bytes {
    let mut reply = BytesMut::new();
    match &welcome.bytes {
        Some(bytes) => reply.extend_from_slice(bytes),
        None => {
            let own = LoginReply {
                err_code: 0,
                user_id: welcome.user.parse().unwrap_or(0),
                account: welcome.account.clone(),
                user_brief: Bytes::new(),
                server_time: i64::try_from(unix_now()).unwrap_or(i64::MAX),
            };
            reply.extend_from_slice(&own.encode_to_vec());
        }
    }
    let brief = LoginReply {
        user_brief: completed.user_brief.clone(),
        ..LoginReply::default()
    };
    reply.extend_from_slice(&brief.encode_to_vec());
    reply.extend_from_slice(&completed.bytes);
    reply.freeze()
}
