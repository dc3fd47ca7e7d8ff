//! What is told beside the body, both ways, by NATS as by HTTP.

use std::borrow::Cow;

use herald_proto::id;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Call, CallError};

pub(super) const MSG_ID: &str = "Herald-Msg-Id";
pub(super) const CONTENT_TYPE: &str = "Content-Type";

/// All but what RFC 3986 calls unreserved: ids hold anything, and a header's value only some.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Longest text of an error that a client is told.
pub const ERROR_TEXT: usize = 200;

/// Who asks for what; values are encoded.
pub(super) fn of(call: &Call) -> Vec<(&'static str, String)> {
    let caller = &call.caller;
    let address = caller.address.to_canonical().to_string();
    let msg_id = call.msg_id.map(|id| id.to_string());
    let values = [
        ("Herald-User", caller.user.as_deref()),
        ("Herald-Session", caller.session.as_deref()),
        ("Herald-Connection", caller.connection.as_deref()),
        (MSG_ID, msg_id.as_deref()),
        ("Herald-Client-Ip", Some(address.as_str())),
    ];
    let encoded = |(name, value): (&'static str, Option<&str>)| Some((name, encode(value?).into_owned()));
    let mut headers: Vec<_> = values.into_iter().filter_map(encoded).collect();
    headers.push((CONTENT_TYPE, call.content_type.to_owned()));
    headers
}

fn encode(value: &str) -> Cow<'_, str> {
    utf8_percent_encode(value, ESCAPED).into()
}

/// The msg_id of a reply; one that is no number breaks it.
pub(super) fn msg_id(value: Option<&str>) -> Result<Option<u32>, CallError> {
    match value {
        None => Ok(None),
        Some(value) => value.trim().parse().map(Some).map_err(|_| CallError::Broken),
    }
}

/// A content type that may stand in a frame; what may not is as good as none.
pub(super) fn content_type(value: Option<&str>) -> String {
    let fits = |value: &&str| id::check("content type", value).is_ok();
    value.map(str::trim).filter(fits).unwrap_or_default().to_owned()
}

/// What a client is told of a backend's own error.
pub(super) fn refused(status: u16, text: &str) -> CallError {
    let line: String = text
        .trim()
        .chars()
        .take_while(|c| !c.is_control())
        .take(ERROR_TEXT)
        .collect();
    let text = if line.is_empty() || line.contains(char::REPLACEMENT_CHARACTER) {
        format!("the service refused with {status}")
    } else {
        line
    };
    CallError::Refused { status, text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::OCTETS, services::Caller};

    #[test]
    fn values_of_any_kind_can_stand_in_a_header() {
        let call = Call {
            service: "lobby".into(),
            route: None,
            method: None,
            body: "x".into(),
            content_type: OCTETS,
            msg_id: Some(7),
            caller: Caller {
                user: Some("小明 2\u{7f}%".to_owned()),
                session: None,
                connection: Some("gw-1.a_b~c".to_owned()),
                address: "::ffff:192.0.2.7".parse().expect("an address"),
            },
        };
        let expected = [
            ("Herald-User", "%E5%B0%8F%E6%98%8E%202%7F%25"),
            ("Herald-Connection", "gw-1.a_b~c"),
            ("Herald-Msg-Id", "7"),
            ("Herald-Client-Ip", "192.0.2.7"),
            ("Content-Type", "application/octet-stream"),
        ];
        assert_eq!(of(&call), expected.map(|(name, value)| (name, value.to_owned())));
    }

    #[test]
    fn what_backends_say_is_taken_with_care() {
        assert_eq!(msg_id(None), Ok(None));
        assert_eq!(msg_id(Some("4294967295")), Ok(Some(u32::MAX)));
        for bad in ["", "-1", "4294967296", "x"] {
            assert_eq!(msg_id(Some(bad)), Err(CallError::Broken), "{bad}");
        }
        assert_eq!(
            content_type(Some("text/plain; charset=utf-8")),
            "text/plain; charset=utf-8"
        );
        assert_eq!(content_type(Some(&"x".repeat(200))), "");
        let text = |text: &str| refused(404, text).to_string();
        assert_eq!(text(" no such item\nstack trace"), "no such item");
        assert_eq!(text(&"x".repeat(300)).len(), ERROR_TEXT);
        assert_eq!(text("\n"), "the service refused with 404");
        assert_eq!(text("\u{fffd}"), "the service refused with 404");
    }
}
