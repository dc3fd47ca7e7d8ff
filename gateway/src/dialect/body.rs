//! Bodies between formats. What passes here as JSON is valid and not too deep, so that it can stand as it is inside the
//! frames of everybody who gets it.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use herald_proto::limits::JSON_DEPTH;
use serde_json::value::RawValue;

use crate::event::{Body, JSON, OCTETS};

mod strict;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the body is not valid JSON")]
    NotJson,
    /// Lone surrogates, numbers beyond a double: receivers' parsers would refuse the whole frame.
    #[error("the body holds a string or a number that not every JSON parser takes")]
    NotStrict,
    #[error("the body is nested deeper than {JSON_DEPTH} levels")]
    TooDeep,
    #[error("body and body_base64 exclude each other")]
    Both,
    #[error("body_base64 is not standard base64")]
    NotBase64,
}

/// What stands in a JSON frame as `body`, or else as `body_base64` and `content_type`. Nothing is `null`.
pub fn given(plain: Option<&RawValue>, base64: Option<&str>, content_type: Option<String>) -> Result<Body, BodyError> {
    match (plain, base64) {
        (plain, None) => from_json(plain.unwrap_or(RawValue::NULL)),
        (None, Some(text)) => {
            let bytes = STANDARD.decode(text).map_err(|_| BodyError::NotBase64)?;
            let content_type = content_type.filter(|content_type| !content_type.is_empty());
            from_bytes(bytes.into(), content_type.unwrap_or_else(|| OCTETS.to_owned()))
        }
        (Some(_), Some(_)) => Err(BodyError::Both),
    }
}

/// A body that a parser has already found to be valid JSON.
pub fn from_json(raw: &RawValue) -> Result<Body, BodyError> {
    strict::check(raw)?;
    Ok(Body {
        bytes: Bytes::copy_from_slice(raw.get().as_bytes()),
        content_type: String::new(),
    })
}

/// A body as bytes with a content type; what claims to be JSON must be.
pub fn from_bytes(bytes: Bytes, content_type: String) -> Result<Body, BodyError> {
    if !is_json(&content_type) {
        return Ok(Body { bytes, content_type });
    }
    from_json(as_json(&bytes).ok_or(BodyError::NotJson)?)?;
    Ok(Body {
        bytes,
        content_type: String::new(),
    })
}

/// Whether a frame that goes on as it is can be read by every receiver.
pub fn check(frame: &[u8]) -> Result<(), BodyError> {
    strict::check(as_json(frame).ok_or(BodyError::NotJson)?)
}

fn as_json(bytes: &[u8]) -> Option<&RawValue> {
    serde_json::from_slice(bytes).ok()
}

/// How a body stands in a JSON frame.
pub enum InJson<'a> {
    Plain(&'a RawValue),
    Base64(String),
}

/// A JSON string of this.
pub fn text(text: &str) -> Body {
    Body {
        // Writing a string to memory cannot fail.
        bytes: serde_json::to_vec(text).unwrap_or_default().into(),
        content_type: String::new(),
    }
}

impl Body {
    /// A JSON string as its text, other JSON as it is written, bytes in base64.
    pub fn as_text(&self) -> Cow<'_, str> {
        match self.in_json() {
            InJson::Plain(raw) => match serde_json::from_str(raw.get()) {
                Ok(text) => Cow::Owned(text),
                Err(_) => Cow::Borrowed(raw.get()),
            },
            InJson::Base64(text) => Cow::Owned(text),
        }
    }

    pub fn in_json(&self) -> InJson<'_> {
        let plain = self.content_type.is_empty().then(|| as_json(&self.bytes)).flatten();
        plain.map_or_else(|| InJson::Base64(STANDARD.encode(&self.bytes)), InJson::Plain)
    }

    pub fn content_type(&self) -> Cow<'_, str> {
        if self.content_type.is_empty() {
            Cow::Borrowed(JSON)
        } else {
            Cow::Borrowed(&self.content_type)
        }
    }
}

/// An empty content type is JSON's.
fn is_json(content_type: &str) -> bool {
    content_type.is_empty() || claims_json(content_type)
}

/// Parameters and case make no difference.
pub fn claims_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case(JSON)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_bodies_are_refused() {
        let nested = |n: usize| "[".repeat(n) + &"]".repeat(n);
        let check = |text: String| from_bytes(text.into(), String::new()).map(drop);
        assert_eq!(check(nested(JSON_DEPTH)), Ok(()));
        assert_eq!(check(nested(JSON_DEPTH + 1)), Err(BodyError::TooDeep));
        assert_eq!(check(nested(30_000)), Err(BodyError::TooDeep));
        assert_eq!(check("[1".to_owned()), Err(BodyError::NotJson));
        assert_eq!(check("1 2".to_owned()), Err(BodyError::NotJson));
        for odd in [r#""\ud800""#, r#"{"\udc00":1}"#, "1e999", "[-1e999]"] {
            assert_eq!(check(odd.to_owned()), Err(BodyError::NotStrict), "{odd}");
        }
        for fine in [
            r#"{"a":[1,2.5e3,-0,true,null],"b":"[[[\ud83d\ude00"}"#,
            "1e308",
            "99999999999999999999",
        ] {
            assert_eq!(check(fine.to_owned()), Ok(()), "{fine}");
        }
    }
}
