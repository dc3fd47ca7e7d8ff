//! `{"msg_id":<u32>,"bytes":"<base64>"}`: what both sides send. Read as Go's `encoding/json` reads it, for clients were
//! written against that.

use std::fmt;

use base64::{
    Engine,
    engine::general_purpose::{GeneralPurpose, STANDARD},
};
use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Envelope {
    pub msg_id: u32,
    pub bytes: Bytes,
}

const BASE64: GeneralPurpose = STANDARD;

impl Envelope {
    /// Err says what is wrong.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        // `null` is an empty envelope.
        let envelope: Option<Self> = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        Ok(envelope.unwrap_or_default())
    }

    pub fn to_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Written {
            msg_id: u32,
            bytes: String,
        }
        let written = Written {
            msg_id: self.msg_id,
            bytes: BASE64.encode(&self.bytes),
        };
        // A number and a text of letters: nothing about them can fail.
        serde_json::to_vec(&written).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Envelope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EnvelopeVisitor)
    }
}

struct EnvelopeVisitor;

impl<'de> Visitor<'de> for EnvelopeVisitor {
    type Value = Envelope;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with msg_id and bytes")
    }

    /// The case of keys does not matter, what is null is not there, and of several the last counts.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Envelope, A::Error> {
        let mut envelope = Envelope::default();
        while let Some(key) = map.next_key::<String>()? {
            if key.eq_ignore_ascii_case("msg_id") {
                if let Some(msg_id) = map.next_value()? {
                    envelope.msg_id = msg_id;
                }
            } else if key.eq_ignore_ascii_case("bytes") {
                let text: Option<String> = map.next_value()?;
                envelope.bytes = match text {
                    Some(text) => decode(&text).map_err(A::Error::custom)?,
                    None => Bytes::new(),
                };
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(envelope)
    }
}

fn decode(text: &str) -> Result<Bytes, String> {
    let mut text = text.to_owned();
    text.retain(|c| c != '\r' && c != '\n');
    let bytes = BASE64.decode(text).map_err(|error| format!("bytes: {error}"))?;
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(json: &str) -> Result<(u32, Vec<u8>), String> {
        Envelope::parse(json.as_bytes()).map(|envelope| (envelope.msg_id, envelope.bytes.to_vec()))
    }

    #[test]
    fn envelopes_are_read_as_go_reads_them() {
        let zbj = b"\x12\x03zbj".to_vec();
        for (json, expected) in [
            (
                r#"{"msg_id":3750207756,"bytes":"EgN6Ymo="}"#,
                (3_750_207_756, zbj.clone()),
            ),
            (r#"{"BYTES":"EgN6Ymo=","Msg_ID":7,"more":[{}]}"#, (7, zbj.clone())),
            ("{\"bytes\":\"EgN6\\r\\nYmo=\\n\"}", (0, zbj.clone())),
            (r#"{"msg_id":5,"bytes":null}"#, (5, vec![])),
            (r#"{"msg_id":null}"#, (0, vec![])),
            ("{}", (0, vec![])),
            ("null", (0, vec![])),
            (r#"{"msg_id":1,"msg_id":2}"#, (2, vec![])),
        ] {
            assert_eq!(parsed(json), Ok(expected), "{json}");
        }
        for bad in [
            "",
            "7",
            "[]",
            r#"{"msg_id":-1}"#,
            r#"{"msg_id":4294967296}"#,
            r#"{"msg_id":"1"}"#,
            r#"{"bytes":"EgN6Ymo"}"#,
            r#"{"bytes":"EgN6Ymo_"}"#,
            r#"{"bytes":5}"#,
            r#"{"msg_id":1}{"#,
        ] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn envelopes_read_back(msg_id: u32, bytes: Vec<u8>) {
            let envelope = Envelope { msg_id, bytes: bytes.into() };
            prop_assert_eq!(Envelope::parse(&envelope.to_json()), Ok(envelope));
        }

        #[test]
        fn nothing_that_is_no_envelope_panics(text in ".{0,80}") {
            let _either = Envelope::parse(text.as_bytes());
        }
    }
}
