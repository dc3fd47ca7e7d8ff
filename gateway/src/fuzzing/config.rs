//! Configuration files, with an environment over them: lines before one of `---` are `NAME=value`.

use herald_router::config::{Faults, RouterConfig};

use crate::config::GatewayConfig;

pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (env, text) = text.split_once("---\n").unwrap_or(("", text));
    let env: Vec<(String, String)> = env
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (format!("HERALD_{name}"), value.to_owned()))
        .collect();
    let (mut gateway, mut faults) = GatewayConfig::parse(text, env.clone().into_iter());
    assert!(
        !format!("{:?}", gateway.auth.keys).contains("secret: Some(Secret("),
        "secrets are masked"
    );
    without_files(&mut gateway);
    gateway.check(&mut faults);
    told_well(&faults);
    let names_files = text.contains("file") || env.iter().any(|(name, _)| name.to_ascii_lowercase().contains("file"));
    if !names_files && let Err(faults) = RouterConfig::parse(text, env.into_iter()) {
        told_well(&faults);
    }
}

/// Each fault has one line, which names its place.
fn told_well(faults: &Faults) {
    for line in faults.to_string().lines() {
        assert!(line.contains(": "), "{line:?}");
    }
}

/// Whatever names one would be opened.
fn without_files(config: &mut GatewayConfig) {
    for key in &mut config.auth.keys {
        (key.secret_file, key.public_key_file) = (None, None);
        (key.private_key_file, key.jwks_file) = (None, None);
    }
    (config.public.tls, config.admin.tls) = (None, None);
    config.services.clear();
    config.login.accounts.clear();
    config.nats = Default::default();
}
