use super::*;

fn checked(text: &str, dev: bool) -> Result<GatewayConfig, Faults> {
    let (mut config, mut faults) = GatewayConfig::parse(text, std::iter::empty());
    if dev {
        config.develop();
    }
    config.check(&mut faults);
    faults.or(config)
}

const KEY: &str = "[[auth.keys]]\nalgorithm = 'HS256'\nsecret = '0123456789abcdef0123456789abcdef'\n";

#[test]
fn the_printed_default_is_the_default() {
    let (config, faults) = GatewayConfig::parse(DEFAULT, std::iter::empty());
    assert!(faults.is_empty(), "{faults}");
    assert_eq!(config, GatewayConfig::default());
    let faults = checked(DEFAULT, false).unwrap_err().to_string();
    assert!(
        faults.starts_with("auth.keys: "),
        "only the key has no default: {faults}"
    );
    assert_eq!(faults.lines().count(), 1);
    let (_, faults) = GatewayConfig::parse(&load::uncommented(DEFAULT), std::iter::empty());
    assert!(faults.is_empty(), "{faults}");
}

#[test]
fn every_fault_is_named() {
    let text = "[limits]\nframe = '1B'\nping_interval = '5s'\npong_timeout = '9s'\n\
        [admin]\nlisten = '0.0.0.0:9002'\n[public]\norigins = ['app.example']\nlisten = ['nowhere']\n\
        [[auth.keys]]\nalgorithm = 'HS257'\nsecret = 'x'\n";
    let faults = checked(text, false).unwrap_err().to_string();
    for path in [
        "limits.frame",
        "limits.pong_timeout",
        "admin.listen",
        "public.origins",
        "public.listen",
        "auth.keys[0]",
    ] {
        assert!(faults.lines().any(|l| l.starts_with(path)), "{path} in:\n{faults}");
    }
}

#[test]
fn development_keys_are_refused_elsewhere() {
    let text = format!("[[auth.keys]]\nalgorithm = 'HS256'\nsecret = '{DEV_TOKEN_KEY}'\n");
    assert!(checked(&text, false).is_err());
    let text = format!("{KEY}[[admin.api_keys]]\nname = 'a'\nkey = '{DEV_API_KEY}'\n");
    assert!(checked(&text, false).is_err());
    checked(KEY, false).unwrap();
    checked("", true).unwrap();
}

#[test]
fn dev_stays_on_loopback() {
    assert!(checked("[public]\nlisten = ['192.0.2.1:1']\n", true).is_err());
    assert!(checked("[admin]\nlisten = '192.0.2.1:1'\n", true).is_err());
    assert!(checked("[nats]\nurls = ['nats://192.0.2.1:4222']\n", true).is_err());
    let config = checked("[nats]\nurls = ['nats://127.0.0.1:4222']\n", true).unwrap();
    assert_eq!(config.nats.prefix, "herald-dev");
    assert!(config.public.listen[0].ip().is_loopback());
}

#[test]
fn secrets_are_masked() {
    let config = checked(KEY, false).unwrap();
    assert!(!format!("{config:?}").contains("0123456789abcdef"));
}

#[test]
fn every_setting_is_either_live_or_needs_a_restart() {
    let settings = load::uncommented(DEFAULT).parse().unwrap();
    assert_eq!(RULES.faults(&settings), Vec::<String>::new());
}
