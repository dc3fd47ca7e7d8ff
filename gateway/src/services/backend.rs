//! The kinds of backends.

use herald_proto::subject::Names;
use herald_router::bus::Bus;

use super::{
    Call, CallError, CallLimits, Reply,
    nats::NatsService,
    upstream::{Fault, Upstream},
};
use crate::config::ServiceSettings;

pub(super) enum Backend {
    Nats(NatsService),
    Http(Box<Upstream>),
    /// Of `--dev`: answers with what it got.
    Echo,
}

impl Backend {
    pub(super) fn new(settings: &ServiceSettings, bus: &Bus, names: &Names) -> Result<Self, Fault> {
        Ok(match &settings.url {
            Some(url) => Self::Http(Box::new(Upstream::new(url, settings)?)),
            None if settings.echo => Self::Echo,
            None => Self::nats(bus, names),
        })
    }

    pub(super) fn nats(bus: &Bus, names: &Names) -> Self {
        Self::Nats(NatsService::new(bus.clone(), names.clone()))
    }

    /// The deadline is kept by the caller, too.
    pub(super) async fn call(&self, call: Call, limits: CallLimits) -> Result<Reply, CallError> {
        match self {
            Self::Nats(service) => service.call(call, limits).await,
            Self::Http(upstream) => upstream.call(call, limits.max_reply).await,
            Self::Echo => Ok(Reply {
                content_type: call.content_type.to_owned(),
                body: call.body,
                msg_id: None,
            }),
        }
    }
}
