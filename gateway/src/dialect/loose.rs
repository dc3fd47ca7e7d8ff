//! JSON as Go's parser takes it: the clients of the articles were written against that.

use std::fmt;

use serde::{
    Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// The values of these keys of an object. The case of keys makes no difference, the last of several counts, `null` is
/// none, and other keys are passed over.
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
        let mut found = [None; N];
        while let Some(key) = map.next_key::<String>()? {
            let value: &RawValue = map.next_value()?;
            if let Some(at) = self.0.iter().position(|name| name.eq_ignore_ascii_case(&key)) {
                found[at] = (value.get() != "null").then_some(value);
            }
        }
        Ok(found)
    }
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
        let found = fields(br#"{"Type":1,"x":[{}],"TYPE":2,"b":null}"#, ["type", "b"]).unwrap();
        assert_eq!(found.map(|value| value.map(RawValue::get)), [Some("2"), None]);
        for bad in [&b"[]"[..], b"1", b"{", b"{}{}", b"{\"a\":\"\xff\"}", b"", b"null"] {
            assert!(fields(bad, ["a"]).is_err(), "{bad:?}");
        }
    }
}
