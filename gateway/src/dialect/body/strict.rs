//! Goes through JSON as a strict receiver would, without keeping anything: strings are decoded, numbers read, depth counted.

use std::fmt;

use herald_proto::limits::JSON_DEPTH;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::BodyError;

/// By this text the one error of ours is told from the parser's.
const TOO_DEEP: &str = "too deep";

pub(super) fn check(raw: &RawValue) -> Result<(), BodyError> {
    let mut parser = serde_json::Deserializer::from_str(raw.get());
    Value { room: JSON_DEPTH }.deserialize(&mut parser).map_err(|error| {
        let text = error.to_string();
        // The parser has a limit of its own, above ours.
        if text.starts_with(TOO_DEEP) || text.starts_with("recursion limit") {
            BodyError::TooDeep
        } else {
            BodyError::NotStrict
        }
    })
}

/// One value, in which arrays and objects may be nested `room` levels deep.
#[derive(Clone, Copy)]
struct Value {
    room: usize,
}

impl Value {
    fn inner<E: Error>(self) -> Result<Self, E> {
        let room = self.room.checked_sub(1).ok_or_else(|| E::custom(TOO_DEEP))?;
        Ok(Self { room })
    }
}

impl<'de> DeserializeSeed<'de> for Value {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        while seq.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        while map.next_entry_seed(inner, inner)?.is_some() {}
        Ok(())
    }
}
