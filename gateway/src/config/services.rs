//! The application's backends, and which messages go to which.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, time::Duration};

use bytesize::ByteSize;
use herald_proto::msg_id::string_hash;
use herald_router::config::Faults;
use serde::Deserialize;

use crate::services::Upstream;

/// The service that logs clients in.
pub const AUTH: &str = "auth";
/// The service of `--dev` that answers with what it got.
pub const ECHO: &str = "echo";

/// Frames with this opcode are errors.
pub const ERROR_OPCODE: u32 = u32::MAX;

/// A backend that answers later than this is no backend of interactive clients; and what waits that long is held in
/// memory all the while.
const LONGEST: Duration = Duration::from_secs(600);
/// Requests and replies are held in memory whole.
const LARGEST: ByteSize = ByteSize::mib(64);

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceSettings {
    /// None: over NATS.
    pub url: Option<String>,
    /// Clients may name it in a `call`.
    pub clients: bool,
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    pub max_request: ByteSize,
    pub max_reply: ByteSize,
    /// Calls to it that may be under way at once.
    pub in_flight: usize,
    /// Link-local addresses that its host may have all the same.
    pub allow_addresses: Vec<IpAddr>,
    /// PEM; None: the system's.
    pub ca_file: Option<PathBuf>,
    /// Set by `--dev`: it is served here, and answers with what it got.
    #[serde(skip)]
    pub echo: bool,
}

impl Default for ServiceSettings {
    fn default() -> Self {
        Self {
            url: None,
            clients: false,
            timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(3),
            max_request: ByteSize::mib(1),
            max_reply: ByteSize::mib(1),
            // A quarter of limits.calls_in_flight: one service that hangs leaves room for the others.
            in_flight: 1024,
            allow_addresses: Vec::new(),
            ca_file: None,
            echo: false,
        }
    }
}

/// Which service gets a message: of one protobuf name, of one number, or with one opcode.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouteSettings {
    pub message: Option<String>,
    pub id: Option<u32>,
    pub opcode: Option<u32>,
    pub service: String,
    pub method: Option<String>,
    /// What the reply is, where the service does not say.
    pub reply: Option<MessageId>,
    /// None: the service's own.
    #[serde(with = "humantime_serde::option")]
    pub timeout: Option<Duration>,
    pub max_request: Option<ByteSize>,
}

/// A message by its name or by its number.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged, expecting = "expected a message's name or its number")]
pub enum MessageId {
    Number(u32),
    Name(String),
}

impl MessageId {
    pub fn number(&self) -> u32 {
        match self {
            Self::Number(number) => *number,
            Self::Name(name) => string_hash(name),
        }
    }
}

/// What a route is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    Message(u32),
    Opcode(u32),
}

impl RouteSettings {
    /// None unless exactly one is given.
    pub fn key(&self) -> Option<Key> {
        match (&self.message, self.id, self.opcode) {
            (Some(name), None, None) => Some(Key::Message(string_hash(name))),
            (None, Some(id), None) => Some(Key::Message(id)),
            (None, None, Some(opcode)) => Some(Key::Opcode(opcode)),
            _ => None,
        }
    }

    /// As metrics call it.
    pub fn name(&self) -> String {
        match (&self.message, self.id, self.opcode) {
            (Some(name), ..) => name.clone(),
            (_, Some(id), _) => format!("id {id}"),
            (.., opcode) => format!("opcode {}", opcode.unwrap_or_default()),
        }
    }

    fn named(&self) -> String {
        match (&self.message, self.id, self.opcode) {
            (Some(name), ..) => format!("{name:?}"),
            (_, Some(id), _) => format!("id {id}"),
            (.., opcode) => format!("opcode {}", opcode.unwrap_or_default()),
        }
    }
}

/// Of services and methods.
pub fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

const NAME: &str = "must be 1 to 64 letters, digits, - and _";

/// `closed` must never be open to clients.
pub(super) fn check_services(services: &BTreeMap<String, ServiceSettings>, closed: &[&str], faults: &mut Faults) {
    for (name, service) in services {
        let path = format!("services.{name}");
        if !is_name(name) {
            faults.add(&path, format!("a service's name {NAME}"));
        }
        if service.clients && closed.contains(&name.as_str()) {
            faults.add(format!("{path}.clients"), "this service is never open to clients");
        }
        check_times(&path, service, faults);
        check_size(format!("{path}.max_request"), service.max_request, faults);
        check_size(format!("{path}.max_reply"), service.max_reply, faults);
        if service.in_flight == 0 {
            faults.add(format!("{path}.in_flight"), "must be at least 1");
        }
        match &service.url {
            // What it may not be is found here, so that no file is found unreadable only later.
            Some(url) => {
                drop(Upstream::new(url, service).map_err(|fault| faults.add(fault.path(&path), fault.to_string())))
            }
            None if service.ca_file.is_some() || !service.allow_addresses.is_empty() => {
                faults.add(path, "ca_file and allow_addresses are of services with a url");
            }
            None => {}
        }
    }
}

fn check_times(path: &str, service: &ServiceSettings, faults: &mut Faults) {
    for (name, time) in [
        ("timeout", service.timeout),
        ("connect_timeout", service.connect_timeout),
    ] {
        check_time(format!("{path}.{name}"), time, faults);
    }
}

fn check_time(path: String, time: Duration, faults: &mut Faults) {
    if time < Duration::from_millis(1) || time > LONGEST {
        faults.add(path, "must be 1ms to 10m");
    }
}

fn check_size(path: String, size: ByteSize, faults: &mut Faults) {
    if size.as_u64() == 0 || size > LARGEST {
        faults.add(path, "must be 1B to 64MiB");
    }
}

pub(super) fn check_routes(routes: &[RouteSettings], faults: &mut Faults) {
    let mut taken: BTreeMap<Key, &RouteSettings> = BTreeMap::new();
    for (i, route) in routes.iter().enumerate() {
        let path = format!("routes[{i}]");
        check_route(&path, route, faults);
        let Some(key) = route.key() else {
            faults.add(path, "must have exactly one of message, id, opcode");
            continue;
        };
        if let Some(other) = taken.insert(key, route) {
            let (one, two) = (other.named(), route.named());
            faults.add(
                path,
                match key {
                    Key::Message(_) if one == two => format!("{one} stands twice"),
                    Key::Message(id) => format!("{one} and {two} are the same msg_id {id}"),
                    Key::Opcode(opcode) => format!("opcode {opcode} stands twice"),
                },
            );
        }
    }
}

fn check_route(path: &str, route: &RouteSettings, faults: &mut Faults) {
    if !is_name(&route.service) {
        faults.add(format!("{path}.service"), NAME);
    }
    if route.method.as_ref().is_some_and(|method| !is_name(method)) {
        faults.add(format!("{path}.method"), NAME);
    }
    if route.message.as_ref().is_some_and(|name| !is_message(name)) {
        faults.add(format!("{path}.message"), "must be a protobuf message's full name");
    }
    if matches!(&route.reply, Some(MessageId::Name(name)) if !is_message(name)) {
        faults.add(
            format!("{path}.reply"),
            "must be a protobuf message's full name, or its number",
        );
    }
    if route.opcode == Some(ERROR_OPCODE) {
        faults.add(format!("{path}.opcode"), "is the opcode of errors");
    }
    if let Some(timeout) = route.timeout {
        check_time(format!("{path}.timeout"), timeout, faults);
    }
    if let Some(size) = route.max_request {
        check_size(format!("{path}.max_request"), size, faults);
    }
}

/// Identifiers joined by dots.
fn is_message(name: &str) -> bool {
    name.split('.').all(|part| {
        !part.starts_with(|c: char| c.is_ascii_digit())
            && !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    })
}

#[cfg(test)]
mod tests;
