//! All backends: which there are, who may call them, and how many calls may be under way.

use std::collections::HashMap;

use bytesize::ByteSize;
use herald_proto::subject::Names;
use herald_router::{bus::Bus, config::Faults};
use tokio::{sync::Semaphore, time::timeout};

use super::{Call, CallError, CallLimits, Reply, backend::Backend};
use crate::{
    config::{AUTH, GatewayConfig, ServiceSettings},
    metrics,
};

pub struct Services {
    known: HashMap<String, Service>,
    /// What nothing in the configuration names.
    other: Service,
    room: Semaphore,
}

struct Service {
    backend: Backend,
    clients: bool,
    limits: CallLimits,
    /// Only a part of all calls may be to one service: where it hangs, the others go on.
    room: Semaphore,
}

impl Services {
    /// Fails as the check of the configuration does.
    pub fn new(config: &GatewayConfig, bus: &Bus, names: &Names) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let mut known = HashMap::new();
        let routed = config.routes.iter().map(|route| route.service.as_str());
        let tables = config.services.keys().map(String::as_str);
        for name in tables.chain(routed).chain([AUTH]) {
            let settings = config.services.get(name).cloned().unwrap_or_default();
            match Service::new(&settings, bus, names) {
                Ok(service) => drop(known.insert(name.to_owned(), service)),
                Err(fault) => faults.add(fault.path(&format!("services.{name}")), fault.to_string()),
            }
        }
        let other = Service {
            backend: Backend::nats(bus, names),
            clients: false,
            limits: limits(None),
            room: Semaphore::new(ServiceSettings::default().in_flight),
        };
        faults.or(Self {
            known,
            other,
            room: Semaphore::new(config.limits.calls_in_flight as usize),
        })
    }

    /// What a call to this service may take, where no route says otherwise.
    pub fn limits(&self, service: &str) -> CallLimits {
        self.service(service).limits
    }

    /// Calls a backend. Dropping the future ends the call and leaves nothing behind.
    pub async fn call(&self, call: Call, limits: CallLimits) -> Result<Reply, CallError> {
        let name = call.service.clone();
        let label = if self.known.contains_key(&*name) { &*name } else { "" };
        let under_way = metrics::CallUnderWay::begin(label, call.route.clone());
        let outcome = self.admitted(self.service(&name), call, limits).await;
        under_way.ended(outcome.as_ref().map_or_else(CallError::outcome, |_| "ok"));
        outcome
    }

    /// A call that a client has asked for by the service's name.
    pub async fn call_by_client(&self, call: Call) -> Result<Reply, CallError> {
        let limits = match self.known.get(&*call.service) {
            Some(service) if service.clients => service.limits,
            _ => return Err(CallError::Unknown),
        };
        self.call(call, limits).await
    }

    async fn admitted(&self, service: &Service, call: Call, limits: CallLimits) -> Result<Reply, CallError> {
        if call.body.len() > limits.max_request {
            return Err(CallError::RequestTooLarge);
        }
        let (Ok(_of_all), Ok(_of_service)) = (self.room.try_acquire(), service.room.try_acquire()) else {
            return Err(CallError::Overloaded);
        };
        let answered = timeout(limits.timeout, service.backend.call(call, limits));
        answered.await.unwrap_or(Err(CallError::Timeout))
    }

    fn service(&self, name: &str) -> &Service {
        self.known.get(name).unwrap_or(&self.other)
    }
}

impl Service {
    fn new(settings: &ServiceSettings, bus: &Bus, names: &Names) -> Result<Self, super::upstream::Fault> {
        Ok(Self {
            backend: Backend::new(settings, bus, names)?,
            clients: settings.clients,
            limits: limits(Some(settings)),
            room: Semaphore::new(settings.in_flight.min(Semaphore::MAX_PERMITS)),
        })
    }
}

/// None: a service without a table.
pub(super) fn limits(settings: Option<&ServiceSettings>) -> CallLimits {
    let default = ServiceSettings::default();
    let settings = settings.unwrap_or(&default);
    CallLimits {
        timeout: settings.timeout,
        max_request: size(settings.max_request),
        max_reply: size(settings.max_reply),
    }
}

pub(super) fn size(size: ByteSize) -> usize {
    usize::try_from(size.as_u64()).unwrap_or(usize::MAX)
}
