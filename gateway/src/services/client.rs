//! The native `call`: a backend that the client itself names.

use super::{Call, CallError, Caller, Reply, Services};
use crate::{
    dialect::body,
    event::{self, Body, JSON, OCTETS},
};

/// Calls the backend if it is open to clients; what it answered, as it stands in frames.
pub async fn call_by_client(services: &Services, call: event::Call, caller: Caller) -> Result<Body, CallError> {
    let asked = call.content_type;
    let call = Call {
        service: call.service.into(),
        route: None,
        method: call.method.map(Into::into),
        body: call.body,
        content_type: asked,
        msg_id: None,
        caller,
    };
    result(services.call_by_client(call).await?, asked)
}

/// JSON that is not what it claims to be must not come into anybody's frame. Plain services often name no content type:
/// then an answer to JSON is JSON, if it can be.
fn result(reply: Reply, asked: &str) -> Result<Body, CallError> {
    let Reply {
        body: bytes,
        content_type,
        ..
    } = reply;
    if !content_type.is_empty() {
        return body::from_bytes(bytes, content_type).map_err(|_| CallError::Broken);
    }
    if asked == JSON
        && let Ok(body) = body::from_bytes(bytes.clone(), content_type)
    {
        return Ok(body);
    }
    Ok(Body {
        bytes,
        content_type: OCTETS.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_frame(content_type: &str, bytes: &'static str, asked: &str) -> Result<(String, String), CallError> {
        let reply = Reply {
            body: bytes.into(),
            content_type: content_type.to_owned(),
            msg_id: None,
        };
        let body = result(reply, asked)?;
        let text = String::from_utf8_lossy(&body.bytes).into_owned();
        Ok((text, body.content_type().into_owned()))
    }

    #[test]
    fn an_answer_is_json_where_it_says_so_or_could_be() {
        let text = |text: &str, content_type: &str| Ok((text.to_owned(), content_type.to_owned()));
        assert_eq!(
            in_frame("application/json; charset=utf-8", "[1]", OCTETS),
            text("[1]", JSON)
        );
        assert_eq!(in_frame("text/plain", "[1]", JSON), text("[1]", "text/plain"));
        assert_eq!(in_frame("", "[1]", JSON), text("[1]", JSON));
        assert_eq!(in_frame("", "[1]", OCTETS), text("[1]", OCTETS));
        assert_eq!(in_frame("", "[1", JSON), text("[1", OCTETS));
        assert_eq!(in_frame(JSON, "[1", JSON), Err(CallError::Broken));
    }
}
