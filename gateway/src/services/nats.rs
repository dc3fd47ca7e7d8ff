//! A backend on NATS: a plain NATS micro service, or whoever answers requests on the subject.

use herald_proto::subject::Names;
use herald_router::bus::{Bus, BusError, Headers, Message};

use super::{
    Call, CallError, CallLimits, Reply,
    headers::{self, CONTENT_TYPE, MSG_ID},
};

/// The headers of a NATS micro service's error.
const ERROR_CODE: &str = "Nats-Service-Error-Code";
const ERROR: &str = "Nats-Service-Error";

/// What services say of an answer that the server would not take, in small letters: NATS' clients in Go and others, in
/// Python, in Rust.
const TOO_LARGE: [&str; 3] = ["maximum payload exceeded", "maxpayloaderror", "payload size limit"];

pub(super) struct NatsService {
    bus: Bus,
    names: Names,
}

impl NatsService {
    pub(super) fn new(bus: Bus, names: Names) -> Self {
        Self { bus, names }
    }

    pub(super) async fn call(&self, call: Call, limits: CallLimits) -> Result<Reply, CallError> {
        let subject = self.names.service(&call.service, call.method.as_deref());
        let headers = headers::of(&call).into_iter().collect();
        let asked = call.msg_id;
        let payload = call.body;
        let message = Message { headers, payload };
        let answered = self.bus.pubsub.call(&subject, message, limits.timeout).await;
        let mut reply = reply(answered.map_err(error)?, limits.max_reply)?;
        // Some clients send a request's headers back with the reply: that says nothing of what the reply is.
        reply.msg_id = reply.msg_id.filter(|told| Some(*told) != asked);
        Ok(reply)
    }
}

fn error(error: BusError) -> CallError {
    match error {
        BusError::NoResponders => CallError::NotThere,
        BusError::Timeout => CallError::Timeout,
        BusError::TooLarge => CallError::RequestTooLarge,
        BusError::Unavailable(why) => {
            tracing::debug!(why, "a service cannot be reached");
            CallError::NotThere
        }
        error @ (BusError::Conflict | BusError::Refused(_)) => {
            tracing::warn!(%error, "a call that the bus does not take");
            CallError::Broken
        }
    }
}

fn reply(Message { headers, payload }: Message, most: usize) -> Result<Reply, CallError> {
    if let Some(code) = headers.get(ERROR_CODE) {
        return Err(of_service(code, &headers));
    }
    if headers.get(ERROR).is_some() {
        return Err(of_service("", &headers));
    }
    if payload.len() > most {
        return Err(CallError::ReplyTooLarge);
    }
    Ok(Reply {
        body: payload,
        content_type: headers::content_type(headers.get(CONTENT_TYPE)),
        msg_id: headers::msg_id(headers.get(MSG_ID))?,
    })
}

fn of_service(code: &str, headers: &Headers) -> CallError {
    let text = headers.get(ERROR).unwrap_or_default();
    let says_too_large = || {
        let text = text.to_ascii_lowercase();
        TOO_LARGE.iter().any(|phrase| text.contains(phrase))
    };
    match code.trim().parse() {
        Ok(code @ 400..=499) => headers::refused(code, text),
        _ if says_too_large() => CallError::ReplyTooLarge,
        _ => CallError::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(headers: &[(&str, &str)]) -> Result<Reply, CallError> {
        let headers = headers.iter().copied().collect();
        let payload = "body".into();
        reply(Message { headers, payload }, 4)
    }

    #[test]
    fn errors_of_micro_services_are_errors() {
        let refused = |status, text: &str| {
            let text = text.to_owned();
            Err(CallError::Refused { status, text })
        };
        assert_eq!(
            answered(&[(ERROR_CODE, "404"), (ERROR, "no such item")]),
            refused(404, "no such item")
        );
        assert_eq!(
            answered(&[(ERROR_CODE, "499")]),
            refused(499, "the service refused with 499")
        );
        for broken in [
            &[(ERROR_CODE, "500"), (ERROR, "a panic")][..],
            &[(ERROR_CODE, "399")],
            &[(ERROR_CODE, "none")],
            &[(ERROR, "no code")],
            &[(MSG_ID, "many")],
        ] {
            assert_eq!(answered(broken), Err(CallError::Broken), "{broken:?}");
        }
        for text in [
            "nats: maximum payload exceeded",
            "MaxPayloadError()",
            "Payload size limit of 1048576 exceeded by message size of 2097152",
        ] {
            let too_large = [(ERROR_CODE, "500"), (ERROR, text)];
            assert_eq!(answered(&too_large), Err(CallError::ReplyTooLarge), "{text}");
        }
    }

    #[test]
    fn a_reply_is_what_the_service_said() {
        let reply = answered(&[(MSG_ID, "9"), (CONTENT_TYPE, "text/plain")]).expect("a reply");
        assert_eq!((reply.msg_id, reply.content_type.as_str()), (Some(9), "text/plain"));
        let plain = answered(&[]).expect("a reply");
        assert_eq!((plain.msg_id, plain.content_type.as_str()), (None, ""));
        let Err(error) = super::reply(Message::from(bytes::Bytes::from_static(b"12345")), 4) else {
            panic!("five bytes are more than four")
        };
        assert_eq!(error, CallError::ReplyTooLarge);
    }
}
