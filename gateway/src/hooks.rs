//! Hooks: the application decides who may connect, what may be sent, and who may join. Each is one call to a service, with
//! its own timeout; where the service does not decide, the configuration does. What the server API does is the application's own
//! and meets no hook; nor do the groups that a token names.

use std::sync::Arc;

use bytes::Bytes;
use herald_proto::{ErrorCode, Target, id};
use herald_router::failure::Failure;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};
use tracing::debug;

use crate::{
    config::{HookSettings, HooksSettings, OnFailure},
    conn::Conn,
    dialect::{body, body::InJson},
    event::{Body, JSON, Send},
    metrics,
    services::{Call, CallError, CallLimits, Caller, ERROR_TEXT, Services},
};

pub struct Hooks {
    connect: Option<Hook>,
    send: Option<Hook>,
    join: Option<Hook>,
}

struct Hook {
    name: &'static str,
    service: Arc<str>,
    method: Arc<str>,
    limits: CallLimits,
    on_failure: OnFailure,
}

/// What a service answers.
#[derive(Deserialize)]
struct Said {
    allow: bool,
    /// Why not, for the client.
    message: Option<String>,
    groups: Option<Vec<String>>,
    body: Option<Box<RawValue>>,
}

/// That it is allowed, and how.
struct Verdict {
    /// Of a connect: these are joined as those of the token are.
    groups: Vec<String>,
    /// Of a send: in place of the body.
    rewritten: Option<Body>,
}

impl Verdict {
    /// None where it names groups or a body that cannot be: that is nonsense, whatever it allows.
    fn of(said: Said) -> Option<Self> {
        let groups = said.groups.unwrap_or_default();
        let rewritten = said.body.map(|raw| body::from_json(&raw)).transpose();
        let are_groups = groups.iter().all(|group| id::check("group", group).is_ok());
        match rewritten {
            Ok(rewritten) if are_groups => Some(Self { groups, rewritten }),
            _ => None,
        }
    }
}

/// A service that did not decide.
enum Undecided {
    Call(CallError),
    /// It asks for patience.
    Busy,
    Nonsense,
}

impl Hooks {
    pub fn new(settings: &HooksSettings, services: &Services) -> Self {
        let hook = |name, settings: &Option<HookSettings>| Some(Hook::new(name, settings.as_ref()?, services));
        Self {
            connect: hook("connect", &settings.connect),
            send: hook("send", &settings.send),
            join: hook("join", &settings.join),
        }
    }

    /// Whether a client may connect; more groups that it belongs to.
    pub async fn connect(
        &self,
        services: &Services,
        conn: &Conn,
        user: &str,
        session: Option<&str>,
        device: Option<&str>,
    ) -> Result<Vec<String>, Failure> {
        let Some(hook) = &self.connect else {
            return Ok(Vec::new());
        };
        let question = json!({
            "user": user,
            "connection": conn.id,
            "address": conn.address.to_canonical().to_string(),
            "dialect": conn.dialect.name(),
            "device": device,
            "session": session,
        });
        let caller = Caller {
            user: Some(user.to_owned()),
            session: session.map(str::to_owned),
            connection: Some(conn.id.to_string()),
            address: conn.address,
        };
        let verdict = Box::pin(hook.ask(services, &question, caller)).await?;
        Ok(verdict.map(|verdict| verdict.groups).unwrap_or_default())
    }

    /// Whether a message may be sent; its body may become another.
    pub async fn send(
        &self,
        services: &Services,
        caller: impl FnOnce() -> Caller,
        message: &mut Send,
    ) -> Result<(), Failure> {
        let Some(hook) = &self.send else {
            return Ok(());
        };
        let caller = caller();
        let question = Question {
            user: caller.user.clone(),
            connection: caller.connection.clone(),
            to: match &message.to {
                Target::User(user) => json!({ "user": **user }),
                Target::Group(group) => json!({ "group": **group }),
                Target::All => json!({ "all": true }),
            },
            kind: message.kind.clone(),
            durable: message.durable,
            parts: Parts::of(&message.body),
        };
        let verdict = Box::pin(hook.ask(services, &question, caller)).await?;
        if let Some(Verdict {
            rewritten: Some(body), ..
        }) = verdict
        {
            message.body = body;
            // It would bring the old one to clients of its own dialect.
            message.original = None;
        }
        Ok(())
    }

    pub async fn join(&self, services: &Services, caller: impl FnOnce() -> Caller, group: &str) -> Result<(), Failure> {
        let Some(hook) = &self.join else {
            return Ok(());
        };
        let caller = caller();
        let question = json!({ "user": caller.user, "connection": caller.connection, "group": group });
        Box::pin(hook.ask(services, &question, caller)).await.map(drop)
    }
}

#[derive(Serialize)]
struct Question<'a> {
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<String>,
    to: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    durable: bool,
    #[serde(flatten)]
    parts: Parts<'a>,
}

/// `body`, or else `body_base64` and `content_type`.
#[derive(Serialize)]
struct Parts<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
}

impl<'a> Parts<'a> {
    fn of(body: &'a Body) -> Self {
        match body.in_json() {
            InJson::Plain(raw) => Self {
                body: Some(raw),
                body_base64: None,
                content_type: None,
            },
            InJson::Base64(text) => Self {
                body: None,
                body_base64: Some(text),
                content_type: Some(body.content_type().into_owned()),
            },
        }
    }
}

impl Hook {
    fn new(name: &'static str, settings: &HookSettings, services: &Services) -> Self {
        let limits = CallLimits {
            timeout: settings.timeout,
            ..services.limits(&settings.service)
        };
        Self {
            name,
            service: settings.service.as_str().into(),
            method: settings.method.as_deref().unwrap_or(name).into(),
            limits,
            on_failure: settings.on_failure,
        }
    }

    /// None: the service did not decide, and the configuration allows it. Boxed by its callers: most commands meet no hook, and
    /// must not have its place.
    async fn ask(
        &self,
        services: &Services,
        question: &impl Serialize,
        caller: Caller,
    ) -> Result<Option<Verdict>, Failure> {
        let body = serde_json::to_vec(question).map_err(|e| Failure::new(ErrorCode::Internal, e.to_string()))?;
        let call = Call {
            service: self.service.clone(),
            route: None,
            method: Some(self.method.clone()),
            body: Bytes::from(body),
            content_type: JSON,
            msg_id: None,
            caller,
        };
        let undecided = match services.call(call, self.limits).await {
            Ok(reply) => match serde_json::from_slice::<Said>(&reply.body) {
                Ok(said) if !said.allow => return Err(self.refused(said.message)),
                Ok(said) => match Verdict::of(said) {
                    Some(verdict) => {
                        metrics::hook(self.name, "allowed");
                        return Ok(Some(verdict));
                    }
                    None => Undecided::Nonsense,
                },
                Err(_) => Undecided::Nonsense,
            },
            // These say that it has not looked at it.
            Err(CallError::Refused {
                status: 408 | 425 | 429,
                ..
            }) => Undecided::Busy,
            Err(CallError::Refused { text, .. }) => return Err(self.refused(Some(text))),
            Err(error) => Undecided::Call(error),
        };
        self.without_verdict(&undecided).map(|()| None)
    }

    fn refused(&self, message: Option<String>) -> Failure {
        metrics::hook(self.name, "refused");
        let message = message.map(|text| text.chars().take(ERROR_TEXT).collect());
        Failure::forbidden(message.unwrap_or_else(|| format!("{} refused", self.name)))
    }

    fn without_verdict(&self, why: &Undecided) -> Result<(), Failure> {
        match why {
            Undecided::Call(error) => debug!(%error, hook = self.name, "a hook did not decide"),
            Undecided::Busy => debug!(hook = self.name, "a hook has no time to decide"),
            Undecided::Nonsense => debug!(hook = self.name, "a hook's answer makes no sense"),
        }
        match self.on_failure {
            OnFailure::Allow => {
                metrics::hook(self.name, "failed_open");
                Ok(())
            }
            OnFailure::Refuse => {
                metrics::hook(self.name, "failed_closed");
                let what = format!("nobody could decide on this {}", self.name);
                Err(Failure::new(ErrorCode::Unavailable, what))
            }
        }
    }
}
