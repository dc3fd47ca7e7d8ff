//! What a command fails with, and the one place where errors of the bus become codes of the wire.

use herald_proto::{ErrorCode, cluster, id::IdError};

use crate::bus::BusError;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Failure {
    pub code: ErrorCode,
    pub message: String,
}

impl Failure {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::BadRequest, message)
    }

    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Forbidden, message)
    }

    pub fn to_proto(&self) -> cluster::Failure {
        cluster::Failure {
            code: self.code.as_str().to_owned(),
            message: self.message.clone(),
        }
    }

    /// A code that this version does not know is a newer node's: `internal` is all that can be said of it.
    pub fn from_proto(failure: cluster::Failure) -> Self {
        Self {
            code: ErrorCode::parse(&failure.code).unwrap_or(ErrorCode::Internal),
            message: failure.message,
        }
    }
}

impl From<BusError> for Failure {
    fn from(error: BusError) -> Self {
        let code = match &error {
            BusError::NoResponders | BusError::Unavailable(_) => ErrorCode::Unavailable,
            BusError::Timeout => ErrorCode::Timeout,
            BusError::TooLarge => ErrorCode::TooLarge,
            BusError::Conflict | BusError::Refused(_) => ErrorCode::Internal,
        };
        Self::new(code, error.to_string())
    }
}

impl From<IdError> for Failure {
    fn from(error: IdError) -> Self {
        Self::bad_request(error.to_string())
    }
}
