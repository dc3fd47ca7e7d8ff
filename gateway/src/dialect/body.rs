//! Bodies between formats. What passes here as JSON is valid and not too deep, so that it can stand as it is inside the
//! frames of everybody who gets it.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use herald_proto::limits::JSON_DEPTH;
use serde_json::value::RawValue;

use crate::event::{Body, JSON};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the body is not valid JSON")]
    NotJson,
    #[error("the body is nested deeper than {JSON_DEPTH} levels")]
    TooDeep,
}

/// A body that a parser has already found to be valid JSON.
pub fn from_json(raw: &RawValue) -> Result<Body, BodyError> {
    if depth(raw.get()) > JSON_DEPTH {
        return Err(BodyError::TooDeep);
    }
    Ok(Body {
        bytes: Bytes::copy_from_slice(raw.get().as_bytes()),
        content_type: String::new(),
    })
}

/// A body as bytes with a content type; what claims to be JSON must be.
pub fn from_bytes(bytes: Bytes, content_type: String) -> Result<Body, BodyError> {
    if !content_type.is_empty() && content_type != JSON {
        return Ok(Body { bytes, content_type });
    }
    from_json(as_json(&bytes).ok_or(BodyError::NotJson)?)?;
    Ok(Body {
        bytes,
        content_type: String::new(),
    })
}

fn as_json(bytes: &[u8]) -> Option<&RawValue> {
    serde_json::from_slice(bytes).ok()
}

/// How a body stands in a JSON frame.
pub enum InJson<'a> {
    Plain(&'a RawValue),
    Base64(String),
}

impl Body {
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

/// How deep arrays and objects are nested in valid JSON.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0usize);
    let (mut in_string, mut escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_brackets_outside_strings() {
        assert_eq!(depth("1"), 0);
        assert_eq!(depth(r#"{"a":[[1],{}],"b":"[[[[\"{{"}"#), 3);
    }

    #[test]
    fn deep_bodies_are_refused() {
        let nested = |n: usize| "[".repeat(n) + &"]".repeat(n);
        let check = |text: String| from_bytes(text.into(), String::new()).map(drop);
        assert_eq!(check(nested(JSON_DEPTH)), Ok(()));
        assert_eq!(check(nested(JSON_DEPTH + 1)), Err(BodyError::TooDeep));
        assert_eq!(check(nested(30_000)), Err(BodyError::TooDeep));
        assert_eq!(check("[1".to_owned()), Err(BodyError::NotJson));
        assert_eq!(check("1 2".to_owned()), Err(BodyError::NotJson));
    }
}
