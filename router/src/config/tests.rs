use super::*;

fn parse(text: &str, env: &[(&str, &str)]) -> Result<RouterConfig, Faults> {
    let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    RouterConfig::parse(text, env)
}

#[test]
fn the_printed_default_is_the_default() {
    assert_eq!(parse(DEFAULT, &[]).unwrap(), RouterConfig::default());
    let faults = parse(&load::uncommented(DEFAULT), &[]).unwrap_err().to_string();
    let mut expected = vec![
        "nats.password: stands both here and in a file",
        "nats.tls.ca_file: /etc/herald/nats-ca.pem: ",
        "nats.tls.cert_file: /etc/herald/nats.crt: ",
        "webhooks[0].ca_file: /etc/herald/tls/ca.crt: ",
        "admin.tls.cert_file: /etc/herald/tls/admin.crt: ",
    ];
    if cfg!(not(feature = "otel")) {
        expected.insert(4, "telemetry.otlp_endpoint: built without the feature otel");
    }
    assert_eq!(faults.lines().count(), expected.len(), "{faults}");
    for (fault, begin) in faults.lines().zip(expected) {
        assert!(fault.starts_with(begin), "only files are not there: {faults}");
    }
}

#[test]
fn every_fault_is_named() {
    let faults = parse(
        "drain = 5\nnoed = 'x'\n[policy]\ndirect = 'some'\n[log]\nmax_age = '1s'\nreplicas = 9\n[nats]\nurls = ['::']\nprefix = 'a b'\n",
        &[],
    )
    .unwrap_err();
    let text = faults.to_string();
    for path in [
        "drain",
        "noed",
        "policy.direct",
        "log.max_age",
        "log.replicas",
        "nats.urls[0]",
        "nats.prefix",
    ] {
        assert!(text.lines().any(|line| line.starts_with(path)), "{path} in:\n{text}");
    }
    assert_eq!(text.lines().count(), 7, "{text}");
}

#[test]
fn a_collector_is_one_that_this_binary_can_reach() {
    let faults = |endpoint: &str| {
        let text = format!("[telemetry]\notlp_endpoint = '{endpoint}'\n");
        parse(&text, &[]).err().map(|faults| faults.to_string())
    };
    if cfg!(not(feature = "otel")) {
        let fault = "telemetry.otlp_endpoint: built without the feature otel";
        assert_eq!(faults("http://127.0.0.1:4318").as_deref(), Some(fault));
        return;
    }
    for good in ["http://127.0.0.1:4318", "http://[::1]:4318/", "http://collector/otlp"] {
        assert_eq!(faults(good), None, "{good}");
    }
    for bad in [
        "",
        "collector:4318",
        "https://collector:4318",
        "http://collector/?a=b",
        "grpc://a:1",
    ] {
        assert!(
            faults(bad).is_some_and(|faults| faults.starts_with("telemetry.otlp_endpoint: ")),
            "{bad}"
        );
    }
    let text = "[telemetry]\notlp_sample = 1.5\n";
    assert!(
        parse(text, &[])
            .unwrap_err()
            .to_string()
            .starts_with("telemetry.otlp_sample: ")
    );
}

#[test]
fn the_environment_goes_over_the_file() {
    let config = parse(
        "[log]\nmax_age = '1h'\n",
        &[
            ("HERALD_LOG__MAX_AGE", "2h"),
            ("HERALD_NATS__URLS", "['nats://a:1', 'nats://b:2']"),
            ("HERALD_DRAIN", "5s"),
            ("HERALD_NODE", "17"),
            // What Kubernetes sets for a service of this name is nobody's setting.
            ("HERALD_ROUTER_SERVICE_PORT", "9003"),
        ],
    )
    .unwrap();
    assert_eq!(config.log.max_age, Duration::from_secs(7200));
    assert_eq!(config.nats.urls().len(), 2);
    assert_eq!(config.drain, Duration::from_secs(5));
    assert_eq!(config.node.as_deref(), Some("17"));
    let config = parse("", &[("HERALD_NATS__URLS", "nats://a:1, nats://b:2")]).unwrap();
    assert_eq!(config.nats.urls(), ["nats://a:1", "nats://b:2"]);
    assert!(parse("", &[("HERALD_LOG__MAX_AEG", "2h")]).is_err());
}

#[test]
fn secrets_are_masked() {
    let config = parse("[nats]\nurls = ['nats://user:hunter2@127.0.0.1:4222']\n", &[]).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_log_that_nats_cannot_hold_is_a_fault() {
    let fault = |text: &str| parse(text, &[]).unwrap_err().to_string();
    for (text, named) in [
        (
            "[log]\nmax_age = '87601h'\n",
            "log.max_age: must be at most 87600h (ten years)",
        ),
        (
            "[log]\nmax_age = '1000years'\n",
            "log.max_age: must be at most 87600h (ten years)",
        ),
        ("[log]\nmax_bytes = '8EiB'\n", "log.max_bytes: must be less than 8EiB"),
    ] {
        assert_eq!(fault(text), named, "{text}");
    }
    let mut faults = Faults::default();
    let too_many = LogSettings {
        max_messages_per_target: 1 << 63,
        ..LogSettings::default()
    };
    too_many.check(&mut faults);
    assert!(faults.has("log.max_messages_per_target"));
    parse("[log]\nmax_age = '87600h'\nmax_bytes = '7EiB'\n", &[]).unwrap();
}

#[test]
fn every_setting_is_either_live_or_needs_a_restart() {
    let settings = load::uncommented(DEFAULT).parse().unwrap();
    assert_eq!(RULES.faults(&settings), Vec::<String>::new());
}
