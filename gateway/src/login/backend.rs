//! Asking the services that know who somebody is.

use std::net::IpAddr;

use bytes::Bytes;

use super::{
    LoginError,
    answer::{Completed, Verdict, Welcome},
};
use crate::{
    event::OCTETS,
    gateway::Gateway,
    services::{Call, CallError, Caller, Reply},
};

/// The login's bytes go to the service untouched.
pub(super) async fn verdict(
    gateway: &Gateway,
    service: &str,
    msg_id: u32,
    body: &Bytes,
    address: IpAddr,
) -> Result<(Verdict, Option<u32>), LoginError> {
    let caller = Caller {
        user: None,
        session: None,
        connection: None,
        address,
    };
    let reply = ask(gateway, service, msg_id, body.clone(), caller).await?;
    let verdict = Verdict::parse(&reply.body).ok_or(LoginError::BadAnswer)?;
    Ok((verdict, reply.msg_id))
}

/// The second service learns who it is, and with which session it will be.
pub(super) async fn complete(
    gateway: &Gateway,
    service: &str,
    msg_id: u32,
    body: Bytes,
    welcome: &Welcome,
    session: &str,
    address: IpAddr,
) -> Result<Completed, LoginError> {
    let caller = Caller {
        user: Some(welcome.user.clone()),
        session: Some(session.to_owned()),
        connection: None,
        address,
    };
    match ask(gateway, service, msg_id, body, caller).await {
        Ok(reply) => Completed::parse(&reply.content_type, reply.body).ok_or(LoginError::BadAnswer),
        // Its error is the client's `errCode`.
        Err(CallError::Refused { status, .. }) => Ok(Completed::refused(i32::from(status))),
        Err(error) => Err(error.into()),
    }
}

async fn ask(gateway: &Gateway, service: &str, msg_id: u32, body: Bytes, caller: Caller) -> Result<Reply, CallError> {
    let call = Call {
        service: service.into(),
        method: None,
        body,
        content_type: OCTETS,
        msg_id: Some(msg_id),
        caller,
    };
    let limits = gateway.services.limits(service);
    gateway.services.call(call, limits).await
}
