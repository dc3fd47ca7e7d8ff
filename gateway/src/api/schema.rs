//! What several calls say and hear, and how the OpenAPI document names it.

use std::borrow::Cow;

use herald_proto::{id, limits};
use herald_router::failure::Failure;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{Ref, RefOr, Schema},
};

use crate::dialect::object::Object;

/// No control characters.
const PATTERN: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$";
/// Of an offset: `<epoch>.<shard>:<sequence>`.
const OFFSET: &str = "^[0-9a-f]{1,40}\\.[0-9]{1,5}:[0-9]{1,19}$";

/// Those that the document names.
pub(super) type Schemas = Vec<(String, RefOr<Schema>)>;

/// A schema that is written down, where types cannot say it. Its text stands in the document under its name.
pub(super) trait Written {
    const NAME: &'static str;

    fn text() -> Value;
}

/// A schema by its name, which is noted with all that it names.
pub(super) fn reference<T: ToSchema>(schemas: &mut Schemas) -> RefOr<Schema> {
    let name = T::name();
    schemas.push((name.to_string(), T::schema()));
    T::schemas(schemas);
    RefOr::Ref(Ref::from_schema_name(name))
}

/// The id of a user or a group.
pub(super) struct Id;

/// A key, a kind: the same rules.
pub(super) struct Label;

pub(super) struct OffsetText;

/// Any JSON.
pub(super) struct Anything;

/// How many a page may hold.
pub(super) struct Limit;

/// True.
pub(super) struct True;

macro_rules! written {
    ($($type:ident = $name:literal, $text:expr;)*) => {
        $(
            impl $crate::api::schema::Written for $type {
                const NAME: &'static str = $name;

                fn text() -> serde_json::Value {
                    $text
                }
            }

            impl utoipa::PartialSchema for $type {
                fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                    utoipa::openapi::RefOr::T(utoipa::openapi::Schema::default())
                }
            }

            impl utoipa::ToSchema for $type {
                fn name() -> std::borrow::Cow<'static, str> {
                    $name.into()
                }
            }
        )*
    };
}
pub(super) use written;

written! {
    Id = "Id", json!({
        "type": "string", "format": "herald-id", "minLength": 1, "maxLength": id::MAX_ID_BYTES, "pattern": PATTERN,
        "description": "1 to 128 bytes of UTF-8 without control characters",
    });
    Label = "Label", json!({
        "type": "string", "format": "herald-id", "minLength": 1, "maxLength": id::MAX_LABEL_BYTES, "pattern": PATTERN,
        "description": "1 to 128 bytes of UTF-8 without control characters",
    });
    OffsetText = "Offset", json!({
        "type": "string", "pattern": OFFSET, "description": "The offset of a stored message, as `sent` and messages tell it",
    });
    Anything = "Anything", json!({ "description": "Any JSON value, nested 64 levels deep at most" });
    Limit = "Limit", json!({ "type": "integer", "minimum": 1, "maximum": limits::PAGE_MAX });
    True = "True", json!({ "type": "boolean", "enum": [true] });
}

/// A whole number: JSON does not tell 5 from 5.0.
pub(super) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let Some(number) = Option::<f64>::deserialize(deserializer)? else {
        return Ok(None);
    };
    if number.fract() != 0.0 || !(0.0..=f64::from(u32::MAX)).contains(&number) {
        return Err(serde::de::Error::custom(format!(
            "{number} is no whole number of 32 bits"
        )));
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // looked at just now
    Ok(Some(number as u32))
}

/// JSON objects only, which is what an object's schema says already.
impl<T: ToSchema> PartialSchema for Object<T> {
    fn schema() -> RefOr<Schema> {
        RefOr::Ref(Ref::from_schema_name(T::name()))
    }
}

impl<T: ToSchema> ToSchema for Object<T> {
    fn name() -> Cow<'static, str> {
        T::name()
    }

    fn schemas(schemas: &mut Schemas) {
        reference::<T>(schemas);
    }
}

/// What every failed call is answered with.
#[derive(Serialize, ToSchema)]
#[schema(as = Error)]
pub(crate) struct ErrorBody {
    pub(super) error: ErrorFields,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ErrorFields)]
pub(crate) struct ErrorFields {
    /// One of the codes of the wire.
    code: &'static str,
    message: String,
    /// Whether the same call, with the same `key`, may succeed later.
    retry: bool,
}

impl From<&Failure> for ErrorBody {
    fn from(failure: &Failure) -> Self {
        Self {
            error: ErrorFields {
                code: failure.code.as_str(),
                message: failure.message.clone(),
                retry: failure.code.retry(),
            },
        }
    }
}

/// Entries of a page, where the request says how many.
pub(super) fn page_limit(limit: Option<u32>) -> Result<u32, Failure> {
    match limit.unwrap_or(limits::PAGE_DEFAULT) {
        limit @ 1..=limits::PAGE_MAX => Ok(limit),
        _ => Err(Failure::bad_request(format!("limit must be 1 to {}", limits::PAGE_MAX))),
    }
}

/// The name after which a page begins; empty: the first.
pub(super) fn page_after(after: Option<String>) -> Result<String, Failure> {
    if let Some(after) = &after {
        id::check("after", after)?;
    }
    Ok(after.unwrap_or_default())
}
