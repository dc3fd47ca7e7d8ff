//! The body of a request, whole: bounded in bytes and in time.

use bytes::Bytes;
use bytesize::ByteSize;
use herald_proto::ErrorCode;
use herald_router::{failure::Failure, http};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{
    Request,
    body::{Body as _, Incoming},
};

pub async fn read(request: Request<Incoming>, most: ByteSize) -> Result<Bytes, Failure> {
    let limit = usize::try_from(most.as_u64()).unwrap_or(usize::MAX);
    let too_large = || Failure::new(ErrorCode::TooLarge, format!("the body is larger than {most}"));
    if request.body().size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let body = Limited::new(request.into_body(), limit).collect();
    match tokio::time::timeout(http::BODY_DEADLINE, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Failure::bad_request("the body broke off")),
        Err(_) => Err(Failure::bad_request("the body did not come in time")),
    }
}
