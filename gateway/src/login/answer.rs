//! What the services `auth` and `login.then` answer: pure.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use herald_proto::{id, login::Reply as LoginReply};
use prost::Message;
use serde::Deserialize;

/// Who somebody is, by the word of one who must know.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    Welcome(Welcome),
    /// With the reply to the client.
    Refused(Bytes),
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Welcome {
    pub user: String,
    pub account: String,
    pub groups: Vec<String>,
    pub broadcast: bool,
    /// The whole reply to the client, where the service wants to write it.
    pub bytes: Option<Bytes>,
}

/// What the second service adds to the reply.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Completion {
    pub user_brief: Bytes,
    /// More of the reply's fields, as protobuf.
    pub bytes: Bytes,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Completed {
    With(Completion),
    /// With the reply to the client.
    Refused(Bytes),
}

impl Default for Completed {
    fn default() -> Self {
        Self::With(Completion::default())
    }
}

impl Welcome {
    /// An account whose name is its user's id.
    pub fn named(user: &str) -> Self {
        Self {
            user: user.to_owned(),
            account: user.to_owned(),
            ..Self::default()
        }
    }
}

impl Verdict {
    pub fn refused(err_code: i32) -> Self {
        Self::Refused(refusal(err_code))
    }

    /// None: this makes no sense.
    pub fn parse(json: &[u8]) -> Option<Self> {
        let answer: Answer = serde_json::from_slice(json).ok()?;
        let bytes = decoded(answer.bytes)?;
        let err_code = answer.err_code.unwrap_or(0);
        if err_code != 0 {
            return Some(Self::Refused(bytes.unwrap_or_else(|| refusal(err_code))));
        }
        let groups = answer.groups.unwrap_or_default();
        let user = answer.user?.0;
        let account = answer.account.map_or_else(|| user.clone(), |account| account.0);
        let who = [("user", &user), ("account", &account)];
        let ids = who.into_iter().chain(groups.iter().map(|group| ("group", group)));
        let fit = ids.into_iter().all(|(what, id)| id::check(what, id).is_ok());
        fit.then_some(Self::Welcome(Welcome {
            user,
            account,
            groups,
            broadcast: answer.broadcast.unwrap_or_default(),
            bytes,
        }))
    }
}

impl Completed {
    pub fn refused(err_code: i32) -> Self {
        Self::Refused(refusal(err_code))
    }

    /// A JSON object, whatever its content type, or else the user's brief itself. None: this makes no sense. No protobuf
    /// message of this age begins with a brace, and who is refused must not be let in for want of a header.
    pub fn parse(content_type: &str, body: Bytes) -> Option<Self> {
        let is_json = content_type.starts_with("application/json") || body.trim_ascii_start().starts_with(b"{");
        if !is_json {
            return Some(Self::With(Completion {
                user_brief: body,
                bytes: Bytes::new(),
            }));
        }
        let answer: Addition = serde_json::from_slice(&body).ok()?;
        let bytes = decoded(answer.bytes)?;
        let err_code = answer.err_code.unwrap_or(0);
        if err_code != 0 {
            return Some(Self::Refused(bytes.unwrap_or_else(|| refusal(err_code))));
        }
        Some(Self::With(Completion {
            user_brief: decoded(answer.user_brief)?.unwrap_or_default(),
            bytes: bytes.unwrap_or_default(),
        }))
    }
}

#[derive(Deserialize)]
struct Answer {
    user: Option<Id>,
    account: Option<Id>,
    // A null is as good as nothing: that is how Go writes an empty list.
    err_code: Option<i32>,
    groups: Option<Vec<String>>,
    broadcast: Option<bool>,
    bytes: Option<String>,
}

#[derive(Deserialize)]
struct Addition {
    err_code: Option<i32>,
    user_brief: Option<String>,
    bytes: Option<String>,
}

/// Numbers of 64 bits do not survive every JSON library, so ids are texts; a number is understood all the same.
struct Id(String);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Text(String),
            Number(u64),
        }
        Ok(match Either::deserialize(deserializer)? {
            Either::Text(text) => Self(text),
            Either::Number(number) => Self(number.to_string()),
        })
    }
}

/// None: it is no base64.
#[allow(clippy::option_option)] // nothing is given, or what is given cannot be read
fn decoded(text: Option<String>) -> Option<Option<Bytes>> {
    match text {
        None => Some(None),
        Some(text) => STANDARD.decode(text).ok().map(|bytes| Some(bytes.into())),
    }
}

fn refusal(err_code: i32) -> Bytes {
    let reply = LoginReply {
        err_code,
        ..LoginReply::default()
    };
    reply.encode_to_vec().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_read() {
        let welcome = |json: &str| match Verdict::parse(json.as_bytes()) {
            Some(Verdict::Welcome(welcome)) => welcome,
            other => panic!("{other:?}"),
        };
        assert_eq!(welcome(r#"{"user":"7"}"#), Welcome::named("7"));
        assert_eq!(welcome(r#"{"user":18446744073709551615}"#).user, u64::MAX.to_string());
        let nulls = r#"{"user":"7","account":null,"err_code":null,"groups":null,"broadcast":null,"bytes":null}"#;
        assert_eq!(welcome(nulls), Welcome::named("7"));
        let all = welcome(r#"{"user":"7","account":"zbj","groups":["g"],"broadcast":true,"bytes":"EAc=","more":1}"#);
        assert_eq!(
            (all.account.as_str(), all.groups.len(), all.broadcast),
            ("zbj", 1, true)
        );
        assert_eq!(all.bytes.as_deref(), Some(&b"\x10\x07"[..]));
        let refused = |json: &str| match Verdict::parse(json.as_bytes()) {
            Some(Verdict::Refused(reply)) => reply.to_vec(),
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(r#"{"err_code":3}"#), b"\x08\x03");
        assert_eq!(refused(r#"{"err_code":3,"bytes":"EAc="}"#), b"\x10\x07");
        for bad in [
            "",
            "{}",
            r#"{"user":""}"#,
            r#"{"user":"a","bytes":"!"}"#,
            r#"{"user":"a","groups":[""]}"#,
        ] {
            assert_eq!(Verdict::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn completions_are_read() {
        let json = |text: &'static str| Completed::parse("application/json", Bytes::from_static(text.as_bytes()));
        let with = |user_brief: &'static [u8], bytes: &'static [u8]| {
            Some(Completed::With(Completion {
                user_brief: Bytes::from_static(user_brief),
                bytes: Bytes::from_static(bytes),
            }))
        };
        assert_eq!(json("{}"), with(b"", b""));
        assert_eq!(
            json(r#"{"user_brief":"EAc=","bytes":"EAg="}"#),
            with(b"\x10\x07", b"\x10\x08")
        );
        assert_eq!(json(r#"{"err_code":9}"#), Some(Completed::refused(9)));
        assert_eq!(json("nonsense"), None);
        let unnamed = Completed::parse("application/octet-stream", Bytes::from_static(b" {\"err_code\":9}"));
        assert_eq!(unnamed, Some(Completed::refused(9)));
        assert_eq!(Completed::parse("", Bytes::from_static(b"{junk")), None);
        let raw = Completed::parse("application/octet-stream", Bytes::from_static(b"brief"));
        assert_eq!(raw, with(b"brief", b""));
    }
}
