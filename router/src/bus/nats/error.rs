//! What NATS' errors mean to a caller of the bus.

use async_nats::{
    PublishError, PublishErrorKind, RequestError, RequestErrorKind, SubscribeError,
    jetstream::{self, ErrorCode},
};
use serde::{Deserialize, de::DeserializeOwned};

use crate::bus::BusError;

impl From<RequestError> for BusError {
    fn from(error: RequestError) -> Self {
        match error.kind() {
            RequestErrorKind::TimedOut => Self::Timeout,
            RequestErrorKind::NoResponders => Self::NoResponders,
            RequestErrorKind::MaxPayloadExceeded => Self::TooLarge,
            RequestErrorKind::InvalidSubject => Self::Refused(error.to_string()),
            RequestErrorKind::Other => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<PublishError> for BusError {
    fn from(error: PublishError) -> Self {
        match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => Self::TooLarge,
            PublishErrorKind::InvalidSubject => Self::Refused(error.to_string()),
            PublishErrorKind::Send => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<SubscribeError> for BusError {
    fn from(error: SubscribeError) -> Self {
        use async_nats::SubscribeErrorKind as Kind;
        match error.kind() {
            Kind::InvalidSubject | Kind::InvalidQueueName => Self::Refused(error.to_string()),
            Kind::Other => Self::Unavailable(error.to_string()),
        }
    }
}

/// What came of asking JetStream.
#[derive(Debug)]
pub(super) enum ApiError {
    Bus(BusError),
    /// The stream, consumer or message does not exist.
    NotFound,
    /// JetStream, or the stream's leader, is not there just now, or not done: to be asked again.
    Away(String),
    /// Placing so many replicas is not possible here.
    Replicas(String),
    NameTaken,
    Other(jetstream::Error),
}

#[derive(Deserialize)]
struct Failure {
    error: jetstream::Error,
}

impl ApiError {
    pub(super) fn no_leader() -> Self {
        Self::Away("nobody leads the stream".to_owned())
    }

    /// An answer of JetStream: what was asked for, or an error.
    pub(super) fn or<T: DeserializeOwned>(answer: &[u8]) -> Result<T, Self> {
        // The error first: an answer with an error may hold enough to pass for the other.
        if let Ok(failure) = serde_json::from_slice::<Failure>(answer) {
            return Err(failure.error.into());
        }
        serde_json::from_slice(answer)
            .map_err(|error| BusError::Refused(format!("NATS' answer is not understood: {error}")).into())
    }
}

impl From<jetstream::Error> for ApiError {
    fn from(error: jetstream::Error) -> Self {
        match error.error_code() {
            ErrorCode::STREAM_WRONG_LAST_SEQUENCE | ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT => {
                Self::Bus(BusError::Conflict)
            }
            ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM => Self::Bus(BusError::TooLarge),
            ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED | ErrorCode::CLUSTER_NO_PEERS => Self::Replicas(error.to_string()),
            ErrorCode::STREAM_NAME_EXIST => Self::NameTaken,
            // The same message is being stored, or was when its leader died: asked again, the answer says which.
            ErrorCode::STREAM_DUPLICATE_MESSAGE_CONFLICT => Self::Away(error.to_string()),
            _ if error.code() == 404 => Self::NotFound,
            _ if error.code() == 503 => Self::Away(error.to_string()),
            _ => Self::Other(error),
        }
    }
}

impl From<BusError> for ApiError {
    fn from(error: BusError) -> Self {
        Self::Bus(error)
    }
}

impl From<ApiError> for BusError {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Bus(error) => error,
            ApiError::NotFound => Self::Unavailable("the stream is not there".to_owned()),
            ApiError::Away(what) => Self::Unavailable(what),
            ApiError::Replicas(what) => Self::Refused(what),
            ApiError::NameTaken => Self::Refused("the stream exists with other settings".to_owned()),
            ApiError::Other(error) => Self::Refused(error.to_string()),
        }
    }
}
