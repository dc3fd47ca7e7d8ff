//! Which service gets what, as the configuration says.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;

use super::{Call, CallLimits, Caller, pool};
use crate::{
    config::{GatewayConfig, MessageId, RouteKey},
    event::OCTETS,
};

/// Where the messages of one kind go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub service: Arc<str>,
    /// As the metrics call it.
    name: Arc<str>,
    pub method: Option<Arc<str>>,
    /// The reply's msg_id where the service does not tell it; None: the request's.
    pub reply: Option<u32>,
    pub limits: CallLimits,
}

impl Route {
    /// A request that goes this way, its bytes untouched.
    pub fn call(&self, body: Bytes, msg_id: Option<u32>, caller: Caller) -> Call {
        Call {
            service: self.service.clone(),
            route: Some(self.name.clone()),
            method: self.method.clone(),
            body,
            content_type: OCTETS,
            msg_id,
            caller,
        }
    }
}

#[derive(Debug, Default)]
pub struct Routes(HashMap<RouteKey, Route>);

impl Routes {
    /// `config` has been checked: each key stands once.
    pub fn new(config: &GatewayConfig) -> Self {
        let routes = config.routes.iter().filter_map(|settings| {
            let mut limits = pool::limits(config.services.get(&settings.service));
            limits.timeout = settings.timeout.unwrap_or(limits.timeout);
            if let Some(size) = settings.max_request {
                limits.max_request = pool::size(size);
            }
            let route = Route {
                service: settings.service.as_str().into(),
                name: settings.name().into(),
                method: settings.method.as_deref().map(Into::into),
                reply: settings.reply.as_ref().map(MessageId::number),
                limits,
            };
            Some((settings.key()?, route))
        });
        Self(routes.collect())
    }

    /// Of a `/message`.
    pub fn message(&self, id: u32) -> Option<&Route> {
        self.0.get(&RouteKey::Message(id))
    }

    /// Of an opcode frame.
    pub fn opcode(&self, opcode: u32) -> Option<&Route> {
        self.0.get(&RouteKey::Opcode(opcode))
    }
}
