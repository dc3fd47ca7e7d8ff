//! Tokens, bodies and headers of requests.

use std::sync::OnceLock;

use herald_proto::id;
use herald_router::config::Secret;
use hyper::{
    HeaderMap,
    header::{self, HeaderValue},
};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::Value;

use crate::{
    auth::{Auth, source, unix_now},
    config::{AuthSettings, KeySettings},
    dialect::loose as read_loosely,
    login::answer::{Completed, Verdict},
    proxies::{AddressHeader, Proxies},
    short::envelope::Envelope,
};

const SECRET: &str = "a-secret-that-no-input-knows-0123456789";

fn auth() -> &'static Auth {
    static AUTH: OnceLock<Auth> = OnceLock::new();
    AUTH.get_or_init(|| {
        let key = KeySettings {
            algorithm: Some("HS256".to_owned()),
            secret: Some(Secret(SECRET.to_owned())),
            ..KeySettings::default()
        };
        let settings = AuthSettings {
            keys: vec![key],
            ..AuthSettings::default()
        };
        Auth::new(&settings).expect("keys")
    })
}

/// As a token, which nobody has signed; and as a head and claims in two lines, which then are signed.
pub fn token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    assert!(auth().verify(text).is_err(), "nobody has signed it");
    let Some((head, claims)) = text.split_once('\n') else {
        return;
    };
    let part = |json: &str| {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        URL_SAFE_NO_PAD.encode(json)
    };
    let message = format!("{}.{}", part(head), part(claims));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256).expect("a signature");
    let Ok(identity) = auth().verify(&format!("{message}.{signature}")) else {
        return;
    };
    let read = |json: &str| serde_json::from_str::<Value>(json).expect("JSON");
    let (head, claims) = (read(head), read(claims));
    assert_eq!(head["alg"], "HS256");
    assert!(head.get("crit").is_none() && head["kid"].is_null());
    let claimed = if claims["sub"].is_null() {
        &claims["account"]
    } else {
        &claims["sub"]
    };
    assert_eq!(claimed, &identity.user);
    id::check("user", &identity.user).expect("a user's id");
    for group in &identity.groups {
        id::check("group", group).expect("a group's id");
    }
    assert!(identity.expires + 6 > unix_now(), "with the leeway");
    assert!(identity.broadcast == (claims["broadcast"] == true));
    if let Some(session) = identity.session {
        id::check("session", &session.id).expect("a session's id");
    }
}

/// Bodies of `/login`, `/message` and `/refresh`.
pub fn envelope(data: &[u8]) {
    match Envelope::parse(data) {
        Ok(envelope) => {
            assert!(envelope.bytes.len() <= data.len());
            assert_eq!(Envelope::parse(&envelope.to_json()), Ok(envelope));
        }
        Err(why) => assert!(why.len() < 1_024, "{} bytes of answer to {}", why.len(), data.len()),
    }
}

/// What comes with a login: the client's own message, and what services answer to it. The first byte tells which.
pub fn login(data: &[u8]) {
    use prost::Message;
    let Some((which, rest)) = data.split_first() else {
        return;
    };
    let checked = |id: &str| id::check("id", id).expect("an id");
    match which % 3 {
        0 => {
            if let Ok(request) = herald_proto::login::Request::decode(rest) {
                assert!(request.account.len() + request.password.len() <= rest.len());
            }
        }
        1 => {
            if let Some(Verdict::Welcome(welcome)) = Verdict::parse(rest) {
                [&welcome.user, &welcome.account]
                    .into_iter()
                    .chain(&welcome.groups)
                    .for_each(|id| checked(id));
            }
        }
        _ => {
            let refused = serde_json::from_slice::<Value>(rest).is_ok_and(|answer| {
                let code = &answer["err_code"];
                code.as_i64().is_some_and(|code| code != 0)
            });
            let completed = Completed::parse("application/octet-stream", rest.to_vec().into());
            assert!(
                !refused || !matches!(completed, Some(Completed::With(_))),
                "who is refused is not let in"
            );
        }
    }
}

/// Headers that carry a token.
pub fn authorization(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else {
        return;
    };
    for name in [header::AUTHORIZATION, header::COOKIE, header::SEC_WEBSOCKET_PROTOCOL] {
        let mut headers = HeaderMap::new();
        headers.insert(name.clone(), value.clone());
        let query = std::str::from_utf8(data).unwrap_or_default();
        let query: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
        for token in [
            source::find(&headers, &[]),
            source::find_without_upgrade(&headers, &[]),
            source::find(&headers, &query),
        ] {
            assert!(token.is_none_or(|token| token.len() <= data.len() && auth().verify(&token).is_err()));
        }
    }
}

/// What a client sends ahead of what the proxy in front writes behind it, in the same header or in one of its own.
pub fn proxies(data: &[u8]) {
    let trusted = ["10.0.0.0/8".parse().expect("a network")];
    let address = |text: &str| text.parse().expect("an address");
    let (proxy, client, stranger) = (address("10.0.0.1"), address("203.0.113.9"), address("192.0.2.1"));
    for (kind, name, told) in [
        (AddressHeader::XForwardedFor, "x-forwarded-for", "203.0.113.9"),
        (AddressHeader::Forwarded, "forwarded", "for=203.0.113.9;proto=https"),
    ] {
        let proxies = Proxies::new(&trusted, kind);
        let joined = HeaderValue::from_bytes(&[data, b", ", told.as_bytes()].concat());
        let apart = HeaderValue::from_bytes(data).map(|forged| vec![forged, HeaderValue::from_static(told)]);
        for values in [joined.map(|joined| vec![joined]), apart].into_iter().flatten() {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(name, value);
            }
            assert_eq!(proxies.client(&headers, proxy), client, "{headers:?}");
            assert_eq!(proxies.client(&headers, stranger), stranger, "{headers:?}");
        }
    }
}

/// Of the names asked for, what is found is what any other parser would find, for each stands once.
pub fn loose(data: &[u8]) {
    const NAMES: [&str; 3] = ["type", "sender", "content"];
    let Ok(found) = read_loosely::fields(data, NAMES) else {
        return;
    };
    let read: serde_json::Map<String, Value> = serde_json::from_slice(data).unwrap_or_default();
    for (name, found) in NAMES.into_iter().zip(found) {
        let exact = read.get(name).filter(|value| !value.is_null());
        if let Some(exact) = exact {
            let found = found.expect("what is there is found");
            assert_eq!(serde_json::from_str::<Value>(found.get()).ok().as_ref(), Some(exact));
        }
    }
}
