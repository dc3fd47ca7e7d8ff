//! A request's body, bounded in size and in time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use bytesize::ByteSize;
use herald_proto::ErrorCode;
use herald_router::{
    failure::Failure,
    http::{self, Incoming},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{Request, body::Body as _};

/// A megabyte over a poor mobile line takes half of this. Who sends a byte now and then is not waited for any longer.
const WHOLE: Duration = Duration::from_secs(60);

/// Why a body could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the body broke off")]
    BrokenOff,
    #[error("the body did not come in time")]
    TooLate,
}

impl BodyError {
    pub fn http_status(self) -> u16 {
        match self {
            Self::TooLarge(_) => 413,
            Self::BrokenOff => 400,
            Self::TooLate => 408,
        }
    }
}

impl From<BodyError> for Failure {
    fn from(error: BodyError) -> Self {
        let code = match error {
            BodyError::TooLarge(_) => ErrorCode::TooLarge,
            BodyError::BrokenOff | BodyError::TooLate => ErrorCode::BadRequest,
        };
        Failure::new(code, error.to_string())
    }
}

/// The whole body, of `most` bytes at most. One that says beforehand that it is larger is not read at all.
pub async fn read(request: Request<Incoming>, most: ByteSize) -> Result<Bytes, BodyError> {
    let most = usize::try_from(most.as_u64()).unwrap_or(usize::MAX);
    if request.body().size_hint().lower() > most as u64 {
        return Err(BodyError::TooLarge(most));
    }
    let body = Limited::new(request.into_body(), most);
    let whole = tokio::time::timeout(WHOLE, collect(body, most)).await;
    whole.unwrap_or(Err(BodyError::TooLate))
}

async fn collect(mut body: Limited<Incoming>, most: usize) -> Result<Bytes, BodyError> {
    let mut parts = BytesMut::new();
    loop {
        let next = tokio::time::timeout(http::BODY_DEADLINE, body.frame()).await;
        let frame = match next.map_err(|_| BodyError::TooLate)? {
            None => return Ok(parts.freeze()),
            Some(Ok(frame)) => frame,
            Some(Err(error)) if error.is::<LengthLimitError>() => return Err(BodyError::TooLarge(most)),
            Some(Err(_)) => return Err(BodyError::BrokenOff),
        };
        // Trailers are nothing to anybody here.
        if let Ok(data) = frame.into_data() {
            if parts.is_empty() && body.is_end_stream() {
                return Ok(data);
            }
            parts.extend_from_slice(&data);
        }
    }
}
