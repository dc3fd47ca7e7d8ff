//! Where a request carries its token: the first place that has one decides.

use std::borrow::Cow;

use hyper::{HeaderMap, header};

/// The token's prefix among the offered subprotocols; browsers can set no other header on a WebSocket.
const SUBPROTOCOL: &str = "bearer.";

/// `Authorization`, `?token=`, subprotocol, cookie; None where none of them has a token.
pub fn find<'a>(headers: &'a HeaderMap, query: &'a [(Cow<'a, str>, Cow<'a, str>)]) -> Option<Cow<'a, str>> {
    authorization(headers)
        .map(Cow::Borrowed)
        .or_else(|| parameter(query, "token").map(Cow::Borrowed))
        .or_else(|| {
            let mut offered = subprotocols(headers);
            offered.find_map(|p| p.strip_prefix(SUBPROTOCOL)).map(Cow::Borrowed)
        })
        .or_else(|| cookie(headers).map(Cow::Borrowed))
}

/// The same where nothing is upgraded, so that there is no subprotocol.
pub fn find_without_upgrade<'a>(
    headers: &'a HeaderMap,
    query: &'a [(Cow<'a, str>, Cow<'a, str>)],
) -> Option<Cow<'a, str>> {
    let token = authorization(headers).or_else(|| parameter(query, "token"));
    token.or_else(|| cookie(headers)).map(Cow::Borrowed)
}

/// The clients of article 000 send a whole `Set-Cookie` value behind `Bearer `: words are split on single spaces, and
/// the second loses a leading `token=` and one trailing `;`.
pub fn authorization(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let mut words = value.split(' ');
    if words.next() != Some("Bearer") {
        return None;
    }
    let word = words.next()?;
    let word = word.strip_prefix("token=").unwrap_or(word);
    let word = word.strip_suffix(';').unwrap_or(word);
    (!word.is_empty()).then_some(word)
}

pub fn parameter<'a>(query: &'a [(Cow<'a, str>, Cow<'a, str>)], name: &str) -> Option<&'a str> {
    query.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
}

/// What stands in all `Sec-WebSocket-Protocol` headers, in order.
pub fn subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

pub fn cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix("token="))
        .filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(name, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn the_first_source_present_decides() {
        let all = headers(&[
            (header::AUTHORIZATION, "Bearer one"),
            (header::SEC_WEBSOCKET_PROTOCOL, "herald.v1.json, bearer.three"),
            (header::COOKIE, "a=b; token=four"),
        ]);
        let query = vec![(Cow::from("token"), Cow::from("two"))];
        assert_eq!(find(&all, &query).as_deref(), Some("one"));
        let mut less = all.clone();
        less.remove(header::AUTHORIZATION);
        assert_eq!(find(&less, &query).as_deref(), Some("two"));
        assert_eq!(find(&less, &[]).as_deref(), Some("three"));
        less.remove(header::SEC_WEBSOCKET_PROTOCOL);
        assert_eq!(find(&less, &[]).as_deref(), Some("four"));
        less.remove(header::COOKIE);
        assert_eq!(find(&less, &[]), None);
    }

    #[test]
    fn forms_of_authorization() {
        for (value, token) in [
            ("Bearer abc", Some("abc")),
            ("Bearer token=abc; Expires=Sat, 01 Jan", Some("abc")),
            ("Bearer", None),
            ("Bearer ", None),
            ("bearer abc", None),
            ("Basic abc", None),
        ] {
            assert_eq!(
                authorization(&headers(&[(header::AUTHORIZATION, value)])),
                token,
                "{value}"
            );
        }
    }
}
