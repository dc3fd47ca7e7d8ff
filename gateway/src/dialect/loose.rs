//! JSON as Go's parser takes it: the clients of the articles were written against that.

use std::fmt;

use serde::{
    Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// The values of these keys of an object. The case of keys makes no difference, `null` is none, and other keys are passed
/// over. A key that stands twice is an error: of parsers some take the first and some the last, and what one of them has
/// checked another must not read otherwise.
pub fn fields<'a, const N: usize>(
    payload: &'a [u8],
    names: [&'static str; N],
) -> Result<[Option<&'a RawValue>; N], serde_json::Error> {
    let mut parser = serde_json::Deserializer::from_slice(payload);
    let found = parser.deserialize_map(Fields(names))?;
    parser.end()?;
    Ok(found)
}

struct Fields<const N: usize>([&'static str; N]);

impl<'de, const N: usize> Visitor<'de> for Fields<N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut found, mut seen) = ([None; N], [false; N]);
        while let Some(key) = map.next_key::<String>()? {
            let value: &RawValue = map.next_value()?;
            let key = folded(&key);
            if let Some(at) = self.0.iter().position(|name| name.eq_ignore_ascii_case(&key)) {
                if std::mem::replace(&mut seen[at], true) {
                    return Err(A::Error::custom("a key stands twice"));
                }
                found[at] = (value.get() != "null").then_some(value);
            }
        }
        Ok(found)
    }
}

/// Go takes two letters beyond ASCII for their like: the long s and the sign of kelvin.
fn folded(key: &str) -> String {
    key.replace('\u{17f}', "s").replace('\u{212a}', "k")
}

/// The parser's messages may quote the input at length.
pub fn shorten(error: &serde_json::Error) -> String {
    error.to_string().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_as_go_finds_them() {
        let found = fields(br#"{"x":[{}],"TYPE":2,"b":null}"#, ["type", "b"]).unwrap();
        assert_eq!(found.map(|value| value.map(RawValue::get)), [Some("2"), None]);
        let long = fields("{\"\u{17f}ender\":99}".as_bytes(), ["sender"]).unwrap();
        assert_eq!(long[0].map(RawValue::get), Some("99"));
        for twice in ["{\"a\":1,\"A\":2}", "{\"a\":1,\"a\":null}", "{\"a\":null,\"a\":1}"] {
            assert!(fields(twice.as_bytes(), ["a"]).is_err(), "{twice}");
        }
        for bad in [&b"[]"[..], b"1", b"{", b"{}{}", b"{\"a\":\"\xff\"}", b"", b"null"] {
            assert!(fields(bad, ["a"]).is_err(), "{bad:?}");
        }
    }
}
