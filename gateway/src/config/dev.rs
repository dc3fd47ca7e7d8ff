//! `--dev`: a development key, rules that allow everything, and nothing beyond this machine.

use std::{net::SocketAddr, time::Duration};

use herald_router::{
    config::{Faults, Secret},
    policy::Policy,
};

use super::{ApiKeySettings, ECHO, GatewayConfig, KeySettings, PublicSettings, RouteSettings, ServiceSettings};

/// Signs tokens in `--dev`; refused everywhere else.
pub const DEV_TOKEN_KEY: &str = "herald-development-key-never-in-production";
/// The API key in `--dev`; refused everywhere else.
pub const DEV_API_KEY: &str = "dev-api-key";

const DEV_PREFIX: &str = "herald-dev";

/// The flags come after this, so an address named there stands; [`check`] then refuses what is not loopback.
pub(super) fn apply(config: &mut GatewayConfig) {
    config.dev = true;
    if config.public.listen == PublicSettings::default().listen {
        config.public.listen = vec![SocketAddr::from(([127, 0, 0, 1], 8002))];
    }
    if config.drain == GatewayConfig::default().drain {
        // Whoever stops a gateway under development is waiting for it.
        config.drain = Duration::from_secs(1);
    }
    config.nats.prefix = DEV_PREFIX.to_owned();
    config.router = Policy {
        last_seen_kept: config.router.last_seen_kept,
        ..Policy::open()
    };
    config.limits.rates_lifted = true;
    config.auth.keys.push(KeySettings {
        algorithm: Some("HS256".to_owned()),
        secret: Some(Secret(DEV_TOKEN_KEY.to_owned())),
        ..KeySettings::default()
    });
    config.admin.api_keys.push(ApiKeySettings {
        name: "dev".to_owned(),
        key: Secret(DEV_API_KEY.to_owned()),
        calls: None,
    });
    config.dialects.develop();
    echo(config);
}

/// What a developer's first client sends comes back, unless the file says where it goes.
fn echo(config: &mut GatewayConfig) {
    config
        .services
        .entry(ECHO.to_owned())
        .or_insert_with(|| ServiceSettings {
            clients: true,
            echo: true,
            ..ServiceSettings::default()
        });
    let to_echo = || RouteSettings {
        service: ECHO.to_owned(),
        ..RouteSettings::default()
    };
    for route in [
        RouteSettings {
            message: Some("cmsg.CReqMyData".to_owned()),
            ..to_echo()
        },
        RouteSettings {
            opcode: Some(110),
            ..to_echo()
        },
        RouteSettings {
            opcode: Some(111),
            ..to_echo()
        },
    ] {
        if !config.routes.iter().any(|other| other.key() == route.key()) {
            config.routes.push(route);
        }
    }
}

pub(super) fn check(config: &GatewayConfig, faults: &mut Faults) {
    for address in &config.public.listen {
        if !address.ip().is_loopback() {
            faults.add(
                "public.listen",
                format!("--dev allows only loopback addresses, not {address}"),
            );
        }
    }
    if !config.admin.listen.ip().is_loopback() {
        faults.add("admin.listen", "--dev allows only loopback addresses");
    }
    if !config.nats.is_loopback() {
        faults.add("nats.urls", "--dev allows only NATS servers on this machine's loopback");
    }
}

pub(super) fn refuse_development_keys(config: &GatewayConfig, faults: &mut Faults) {
    for (i, key) in config.auth.keys.iter().enumerate() {
        if key.secret.as_ref().is_some_and(|s| s.0 == DEV_TOKEN_KEY) {
            faults.add(format!("auth.keys[{i}].secret"), "is the public development key");
        }
    }
    for (i, key) in config.admin.api_keys.iter().enumerate() {
        if key.key.0 == DEV_API_KEY {
            faults.add(format!("admin.api_keys[{i}].key"), "is the public development key");
        }
    }
}
