//! What several calls say and hear, and how the OpenAPI document names it.

use std::borrow::Cow;

use herald_proto::{id, limits};
use herald_router::failure::Failure;
use serde::Serialize;
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

/// A schema as it is written in JSON.
pub(super) fn written(schema: Value) -> RefOr<Schema> {
    // Each is a constant of this file, and the test below reads them all.
    serde_json::from_value(schema).map_or_else(|_| RefOr::T(Schema::default()), RefOr::T)
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

macro_rules! schemas {
    ($($name:ident = $schema:expr;)*) => {
        $(
            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    written($schema)
                }
            }

            impl ToSchema for $name {}
        )*
    };
}

schemas! {
    Id = json!({
        "type": "string", "format": "herald-id", "minLength": 1, "maxLength": id::MAX_ID_BYTES, "pattern": PATTERN,
        "description": "1 to 128 bytes of UTF-8 without control characters",
    });
    Label = json!({
        "type": "string", "format": "herald-id", "minLength": 1, "maxLength": id::MAX_LABEL_BYTES, "pattern": PATTERN,
        "description": "1 to 128 bytes of UTF-8 without control characters",
    });
    OffsetText = json!({
        "type": "string", "pattern": OFFSET, "description": "The offset of a stored message, as `sent` and messages tell it",
    });
    Anything = json!({ "description": "Any JSON value, nested 64 levels deep at most" });
    Limit = json!({ "type": "integer", "format": "int32", "minimum": 1, "maximum": limits::PAGE_MAX });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_are_what_is_written() {
        for schema in [Id::schema(), Label::schema(), OffsetText::schema(), Limit::schema()] {
            let written = serde_json::to_value(schema).unwrap();
            assert!(written["type"].is_string(), "{written}");
        }
        let id = serde_json::to_value(Id::schema()).unwrap();
        assert_eq!((&id["maxLength"], &id["pattern"]), (&json!(128), &json!(PATTERN)));
    }
}
