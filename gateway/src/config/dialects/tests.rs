use herald_router::config::Faults;

use super::*;

fn faults(text: &str) -> String {
    let settings: DialectsSettings = toml::from_str(text).unwrap();
    let mut faults = Faults::default();
    settings.check(&["127.0.0.1:8080".parse().unwrap()], &mut faults);
    faults.to_string()
}

#[test]
fn no_path_has_two_meanings() {
    for (text, named) in [
        (
            "[im]\npaths = ['/a']\n[hub]\npaths = ['/b', '/a']",
            "dialects.hub.paths",
        ),
        ("[hub]\npaths = ['/ws']", "dialects.hub.paths"),
        (
            "[ws-id]\npaths = ['/ws/{id}']\n[hub]\npaths = ['/ws/7']",
            "dialects.ws-id.paths",
        ),
        ("[ws-id]\npaths = ['/{id}']", "dialects.ws-id.paths"),
        ("[ws-id]\npaths = ['/ws']", "dialects.ws-id.paths"),
        ("[im]\npaths = ['/{id}']", "dialects.im.paths"),
        ("[im]\npaths = ['a']", "dialects.im.paths"),
        ("[im]\npaths = ['/a?b']", "dialects.im.paths"),
        ("[im]\nlisten = '127.0.0.1:8888'", "dialects.im.listen"),
        ("[im]\npush_opcode = 2", "dialects.im.push_opcode"),
        ("[opcode]\npush_opcode = 4294967295", "dialects.opcode.push_opcode"),
        (
            "[echo]\npaths = ['/e']\nping_interval = '5s'",
            "dialects.echo.pong_timeout",
        ),
        ("[echo]\npaths = ['/e']\nframe = '1B'", "dialects.echo.frame"),
    ] {
        assert!(faults(text).starts_with(named), "{text}: {}", faults(text));
    }
    for text in [
        "[ws-id]\npaths = ['/ws/{id}', '/v2/{id}/hub']\n[echo]\npaths = ['/echo', '/serv/echo']",
        "[opcode]\npaths = ['/serv/']\npush_opcode = 7\nlisten = '127.0.0.1:8080'",
    ] {
        assert_eq!(faults(text), "", "{text}");
    }
}

#[test]
fn in_development_all_are_where_their_articles_have_them() {
    let mut settings = DialectsSettings::default();
    assert_eq!(settings.spoken().count(), 0, "off unless configured");
    settings.develop();
    let paths: Vec<&str> = settings
        .spoken()
        .flat_map(|spoken| spoken.paths)
        .map(String::as_str)
        .collect();
    assert_eq!(paths, ["/socket.io", "/serv/", "/echo", "/hub", "/ws/{id}"]);
    assert!(settings.spoken().all(|spoken| spoken.trust_url_id));
    let mut faults = Faults::default();
    settings.check(&[], &mut faults);
    assert!(faults.is_empty(), "{faults}");
}

/// As their articles need it.
#[test]
fn silence_is_borne_for_long_enough() {
    let mut settings = DialectsSettings::default();
    settings.develop();
    let of = |dialect| settings.spoken().find(|spoken| spoken.dialect == dialect).unwrap();
    let im = of(Dialect::Im);
    // Its heartbeat comes 10 s after the last frame, and a client that has lost its connection comes back after 10 s more.
    let least = im.pong_timeout.min(im.ping_interval + im.pong_timeout);
    assert!(least > Duration::from_secs(20), "{least:?}");
    let ws_id = of(Dialect::WsId);
    assert_eq!(ws_id.ping_interval, Duration::from_secs(9));
    assert!(ws_id.pong_timeout < Duration::from_secs(10));
    assert_eq!((ws_id.frame.as_u64(), im.frame.as_u64()), (512, 1 << 20));
}
