//! The OpenAPI document, made from the table of calls.

use std::collections::BTreeMap;

use herald_proto::ErrorCode;
use serde_json::Value;
use utoipa::openapi::{
    Components, ContentBuilder, HttpMethod, Info, License, OpenApi, OpenApiBuilder, PathItem, Paths, Ref, RefOr,
    Required, ResponseBuilder, Schema, SecurityRequirement,
    path::{Operation, OperationBuilder, ParameterBuilder, ParameterIn},
    request_body::RequestBodyBuilder,
    security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use super::{
    call::Entry,
    log_level::{Directives, Time},
    messages::{Base64, ContentType, Seconds, To},
    schema::{Anything, ErrorBody, Id, Label, Limit, OffsetText, Schemas, True, Written, reference},
};

const JSON: &str = "application/json";
const KEY: &str = "api_key";
const ABOUT: &str = "Herald's server API, on the admin listener, for the application's backends. Every failure is an \
                     `error` with a `code`; where `retry` is true the outcome is unknown, and the same call may be made again, \
                     with the same `key` if it sends. Objects may hold more fields than these in later versions.";

/// What may go wrong with any call.
const FAILURES: &[(ErrorCode, &str)] = &[
    (ErrorCode::BadRequest, "A value that cannot be"),
    (ErrorCode::Unauthorized, "No API key, or an unknown one"),
    (ErrorCode::Forbidden, "The API key does not allow this call"),
    (ErrorCode::NotFound, "There is no such thing"),
    (ErrorCode::TooLarge, "The body, or what would be sent, is too large"),
    (ErrorCode::RateLimited, "Too many at once"),
    (ErrorCode::Internal, "A fault of Herald's"),
    (ErrorCode::Unavailable, "No router or NATS; the outcome is unknown"),
    (ErrorCode::Timeout, "No answer in time; the outcome is unknown"),
];

pub(super) fn document(calls: &[Entry]) -> Value {
    // All of it is made of this program alone: the test shows that it can be written.
    let mut document = serde_json::to_value(from_types(calls)).unwrap_or_default();
    let schemas = &mut document["components"]["schemas"];
    write::<Id>(schemas);
    write::<Label>(schemas);
    write::<OffsetText>(schemas);
    write::<Anything>(schemas);
    write::<Limit>(schemas);
    write::<True>(schemas);
    write::<To>(schemas);
    write::<Seconds>(schemas);
    write::<Base64>(schemas);
    write::<ContentType>(schemas);
    write::<Directives>(schemas);
    write::<Time>(schemas);
    document
}

fn write<T: Written>(schemas: &mut Value) {
    schemas[T::NAME] = T::text();
}

fn from_types(calls: &[Entry]) -> OpenApi {
    let mut schemas = Vec::new();
    let mut paths: BTreeMap<&str, PathItem> = BTreeMap::new();
    let error = reference::<ErrorBody>(&mut schemas);
    for call in calls {
        let operation = operation(call, &error, &mut schemas);
        let item = PathItem::new(method(call), operation);
        match paths.get_mut(call.path) {
            Some(others) => others.merge_operations(item),
            None => _ = paths.insert(call.path, item),
        }
    }
    let mut components = Components::new();
    components.schemas.extend(schemas);
    components.security_schemes.insert(
        KEY.to_owned(),
        SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build()),
    );
    let mut info = Info::new("Herald", env!("CARGO_PKG_VERSION"));
    info.description = Some(ABOUT.to_owned());
    info.license = Some(License::new("Apache-2.0"));
    let mut all = Paths::new();
    for (path, item) in paths {
        all.paths.insert(path.to_owned(), item);
    }
    OpenApiBuilder::new()
        .info(info)
        .paths(all)
        .components(Some(components))
        .security(Some([SecurityRequirement::new(KEY, [""; 0])]))
        .build()
}

fn method(call: &Entry) -> HttpMethod {
    match call.method.as_str() {
        "POST" => HttpMethod::Post,
        "PUT" => HttpMethod::Put,
        "DELETE" => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

fn operation(call: &Entry, error: &RefOr<Schema>, schemas: &mut Schemas) -> Operation {
    let documented = (call.document)(schemas);
    let about = format!("{} (API keys name it `{}`.)", call.about, call.right);
    let ids = [("uid", "A user"), ("gid", "A group")]
        .into_iter()
        .filter_map(|(name, of)| {
            let parameter = ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .description(Some(format!("{of}, percent-encoded")))
                .schema(Some(Ref::from_schema_name(Id::NAME)));
            call.path.contains(&format!("{{{name}}}")).then(|| parameter.build())
        });
    let mut operation = OperationBuilder::new()
        .operation_id(Some(call.id))
        .summary(Some(call.summary))
        .description(Some(about.trim().to_owned()))
        .parameters(Some(ids.chain(documented.query)))
        .response("200", response("Done", documented.answer));
    if let Some(body) = documented.body {
        let body = RequestBodyBuilder::new()
            .content(JSON, ContentBuilder::new().schema(Some(body)).build())
            .required(Some(Required::True));
        operation = operation.request_body(Some(body.build()));
    }
    for (code, about) in FAILURES {
        operation = operation.response(code.http_status().to_string(), response(about, error.clone()));
    }
    operation.build()
}

fn response(about: &str, schema: RefOr<Schema>) -> utoipa::openapi::Response {
    ResponseBuilder::new()
        .description(about)
        .content(JSON, ContentBuilder::new().schema(Some(schema)).build())
        .build()
}

#[cfg(test)]
mod tests {
    use super::{super::CALLS, *};

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    found.push(reference.clone());
                }
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_call_stands_in_the_document_and_every_name_leads_somewhere() {
        let document = document(&CALLS);
        assert_eq!(document["openapi"], "3.1.0");
        for call in CALLS.iter() {
            let operation = &document["paths"][call.path][call.method.as_str().to_lowercase()];
            assert_eq!(operation["operationId"], call.id);
            assert!(operation["responses"]["200"]["content"].is_object(), "{operation}");
        }
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > CALLS.len());
        for reference in found {
            let path = reference.strip_prefix('#').unwrap();
            assert!(
                document
                    .pointer(path)
                    .is_some_and(|there| there.as_object().is_some_and(|o| !o.is_empty())),
                "{reference}"
            );
        }
    }
}
