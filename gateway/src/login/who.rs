//! Who decides who somebody is, and how often one may try.

use std::net::IpAddr;

use herald_proto::{id, login};
use prost::{DecodeError, Message};

use super::{
    LoginError, Request,
    answer::{Verdict, Welcome},
    backend,
};
use crate::{
    accounts::Accounts,
    attempts::Attempts,
    config::{AUTH, GatewayConfig},
    services::CallError,
};

pub(super) struct Gatekeeper {
    knows: Knows,
    /// None: one may try as often as one likes.
    attempts: Option<Attempts>,
    /// `errCode` of one whose name or password is wrong.
    refused_code: i32,
}

enum Knows {
    Service(String),
    Accounts(Accounts),
    /// `--dev`: every account has every password.
    Anybody,
}

/// What a login says of itself, where it reads as one of the article's.
type Named = Result<login::Request, DecodeError>;

impl Gatekeeper {
    pub fn new(config: &GatewayConfig) -> Self {
        let settings = &config.login;
        let knows = match (&settings.service, Accounts::new(&settings.accounts)) {
            (Some(service), _) => Knows::Service(service.clone()),
            (None, Some(accounts)) => Knows::Accounts(accounts),
            (None, None) if config.dev => Knows::Anybody,
            (None, None) => Knows::Service(AUTH.to_owned()),
        };
        Self {
            knows,
            attempts: Attempts::new(settings, config.limits.rates_lifted),
            refused_code: settings.refused_code,
        }
    }

    pub fn may_try(&self, address: IpAddr) -> Result<(), LoginError> {
        match &self.attempts {
            Some(attempts) => Ok(attempts.from_address(address)?),
            None => Ok(()),
        }
    }

    /// With the number of the reply, where a service names it. Counts as a failed attempt of the account unless it comes
    /// out otherwise.
    pub async fn verdict(&self, request: &Request<'_>) -> Result<(Verdict, Option<u32>), LoginError> {
        // Backends may take logins of any form; whatever reads as the article's names an account.
        let named = login::Request::decode(request.bytes.clone());
        // Many backends take `ZBJ` for `zbj`.
        let account = named
            .as_ref()
            .map_or_else(|_| String::new(), |named| named.account.to_lowercase());
        let attempts = self.attempts.as_ref().filter(|_| !account.is_empty());
        if let Some(attempts) = attempts {
            attempts.of_account(&account)?;
        }
        let outcome = match &self.knows {
            Knows::Service(service) => backend::verdict(request, service).await,
            Knows::Accounts(accounts) => self.by(accounts, named).await.map(|verdict| (verdict, None)),
            Knows::Anybody => anybody(named).map(|verdict| (verdict, None)),
        };
        let refused = matches!(
            outcome,
            Ok((Verdict::Refused(_), _)) | Err(LoginError::Backend(CallError::Refused { .. }))
        );
        if let (Some(attempts), false) = (attempts, refused) {
            attempts.succeeded(&account);
        }
        outcome
    }

    async fn by(&self, accounts: &Accounts, named: Named) -> Result<Verdict, LoginError> {
        let login::Request { account, password } = named.map_err(no_login)?;
        Ok(match accounts.verify(&account, password).await? {
            Some(known) => Verdict::Welcome(Welcome {
                account,
                groups: known.groups.clone(),
                broadcast: known.broadcast,
                ..Welcome::named(known.user())
            }),
            None => Verdict::refused(self.refused_code),
        })
    }
}

fn anybody(named: Named) -> Result<Verdict, LoginError> {
    let account = named.map_err(no_login)?.account;
    id::check("account", &account).map_err(|error| LoginError::BadRequest(error.to_string()))?;
    Ok(Verdict::Welcome(Welcome::named(&account)))
}

fn no_login(_: DecodeError) -> LoginError {
    LoginError::BadRequest("bytes: no login".to_owned())
}
