use super::*;
use crate::config::GatewayConfig;

fn faults(text: &str) -> String {
    let key = "[[auth.keys]]\nalgorithm = 'HS256'\nsecret = '0123456789abcdef0123456789abcdef'\n";
    let (config, mut faults) = GatewayConfig::parse(&format!("{key}{text}"), std::iter::empty());
    config.check(&mut faults);
    faults.to_string()
}

/// Two names with one hash, found by trying.
const PAIR: [&str; 2] = ["cmsg.CReqAddOldGuildLog", "cmsg.CReqEquipDailySkill"];

fn route(key: &str) -> String {
    format!("[[routes]]\n{key}\nservice = 'lobby'\n")
}

#[test]
fn names_with_one_hash_are_refused_and_both_are_named() {
    assert_eq!(string_hash(PAIR[0]), string_hash(PAIR[1]));
    let messages = PAIR.map(|name| route(&format!("message = '{name}'")));
    let told = faults(&messages.concat());
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.starts_with("routes[1]: "), "{told}");
    assert!(PAIR.iter().all(|name| told.contains(name)), "{told}");
    let id = route(&format!("id = {}", string_hash(PAIR[0])));
    let told = faults(&format!("{}{id}", messages[0]));
    assert!(told.contains(PAIR[0]) && told.contains("id 3488809042"), "{told}");
    assert!(faults(&route("opcode = 7").repeat(2)).contains("opcode 7 stands twice"));
    assert!(faults(&route("message = 'a.B'").repeat(2)).contains("\"a.B\" stands twice"));
    // An opcode and a msg_id are different things.
    assert_eq!(faults(&format!("{}{}", route("opcode = 7"), route("id = 7"))), "");
}

#[test]
fn faults_of_routes_are_named() {
    for (text, named) in [
        (route(""), "routes[0]: must have exactly one"),
        (route("id = 1\nopcode = 2"), "routes[0]: must have exactly one"),
        (route("message = 'no spaces'"), "routes[0].message"),
        (route("message = 'a..b'"), "routes[0].message"),
        (route("id = 1\nreply = '1x'"), "routes[0].reply"),
        (route("id = 1\nreply = -1"), "routes[0].reply"),
        (route("id = 1\nmethod = 'a.b'"), "routes[0].method"),
        (route("id = 1\ntimeout = '0s'"), "routes[0].timeout"),
        (route("id = 1\nmax_request = '1GiB'"), "routes[0].max_request"),
        (route("opcode = 4294967295"), "routes[0].opcode"),
        ("[[routes]]\nid = 1\n".to_owned(), "routes[0].service"),
        ("[[routes]]\nid = 1\nservice = 'a*'\n".to_owned(), "routes[0].service"),
    ] {
        let told = faults(&text);
        assert!(
            told.lines().any(|line| line.starts_with(named)),
            "{named} for {text}:\n{told}"
        );
    }
}

#[test]
fn faults_of_services_are_named() {
    for (text, named) in [
        ("[services.'a.b']\n", "services.a.b"),
        ("[services.auth]\nclients = true\n", "services.auth.clients"),
        ("[services.a]\nurl = 'ftp://x/'\n", "services.a.url"),
        ("[services.a]\nurl = 'x'\n", "services.a.url"),
        ("[services.a]\nurl = 'http://user:pw@x/'\n", "services.a.url"),
        ("[services.a]\nurl = 'http://x/?q=1'\n", "services.a.url"),
        ("[services.a]\nurl = 'http://169.254.169.254/'\n", "services.a.url"),
        (
            "[services.a]\nurl = 'http://[::ffff:169.254.169.254]/'\n",
            "services.a.url",
        ),
        (
            "[services.a]\nurl = 'https://x/'\nca_file = '/does/not/exist'\n",
            "services.a.ca_file",
        ),
        ("[services.a]\nca_file = '/x'\n", "services.a"),
        ("[services.a]\ntimeout = '1h'\n", "services.a.timeout"),
        ("[services.a]\nconnect_timeout = '0s'\n", "services.a.connect_timeout"),
        ("[services.a]\nmax_reply = '0B'\n", "services.a.max_reply"),
        ("[services.a]\nin_flight = 0\n", "services.a.in_flight"),
        (
            "[services.a]\nallow_addresses = ['nowhere']\n",
            "services.a.allow_addresses",
        ),
        ("[services.a]\nulr = 'http://x'\n", "services.a.ulr"),
    ] {
        let told = faults(text);
        assert!(
            told.lines().any(|line| line.starts_with(named)),
            "{named} for {text}:\n{told}"
        );
        assert!(!told.contains("pw"), "{told}");
    }
    for fine in [
        "[services.a]\nurl = 'http://127.0.0.1:80'\nclients = true\n",
        "[services.a]\nurl = 'http://[fe80::1]/x/'\nallow_addresses = ['fe80::1']\n",
        "[services.auth]\ntimeout = '3s'\n",
    ] {
        assert_eq!(faults(fine), "", "{fine}");
    }
}

#[test]
fn development_echoes_what_the_file_does_not_route() {
    let text = "[[routes]]\nopcode = 110\nservice = 'friends'\n";
    let (mut config, mut faults) = GatewayConfig::parse(text, std::iter::empty());
    config.develop();
    config.check(&mut faults);
    assert!(faults.is_empty(), "{faults}");
    let service = |key| {
        let mut of_key = config.routes.iter().filter(|route| route.key() == Some(key));
        let route = of_key.next().expect("a route");
        assert!(of_key.next().is_none(), "one of each");
        route.service.as_str()
    };
    assert_eq!(service(Key::Opcode(110)), "friends");
    assert_eq!(service(Key::Opcode(111)), ECHO);
    assert_eq!(service(Key::Message(2_933_023_166)), ECHO);
}
