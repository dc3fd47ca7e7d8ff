//! Asking the services that know who somebody is.

use super::{
    LoginError, Request,
    answer::{Completed, Verdict, Welcome},
};
use crate::{
    event::OCTETS,
    services::{Call, CallError, Caller, Reply},
};

/// The login's bytes go to the service untouched.
pub(super) async fn verdict(request: &Request<'_>, service: &str) -> Result<(Verdict, Option<u32>), LoginError> {
    let reply = ask(request, service, None, None).await?;
    let verdict = Verdict::parse(&reply.body).ok_or(LoginError::BadAnswer)?;
    Ok((verdict, reply.msg_id))
}

/// The second service learns who it is, and with which session it will be.
pub(super) async fn complete(
    request: &Request<'_>,
    service: &str,
    welcome: &Welcome,
    session: &str,
) -> Result<Completed, LoginError> {
    let answered = ask(request, service, Some(welcome.user.clone()), Some(session.to_owned())).await;
    match answered {
        Ok(reply) => Completed::parse(&reply.content_type, reply.body).ok_or(LoginError::BadAnswer),
        // Its error is the client's `errCode`.
        Err(CallError::Refused { status, .. }) => Ok(Completed::refused(i32::from(status))),
        Err(error) => Err(error.into()),
    }
}

async fn ask(
    request: &Request<'_>,
    service: &str,
    user: Option<String>,
    session: Option<String>,
) -> Result<Reply, CallError> {
    let call = Call {
        service: service.into(),
        route: None,
        method: None,
        body: request.bytes.clone(),
        content_type: OCTETS,
        msg_id: Some(request.msg_id),
        caller: Caller {
            user,
            session,
            connection: None,
            address: request.address,
        },
    };
    let services = &request.gateway.services;
    services.call(call, services.limits(service)).await
}
