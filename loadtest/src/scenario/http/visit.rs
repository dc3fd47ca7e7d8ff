//! One visitor: logs in, sends messages, refreshes its token, and logs out.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use herald_proto::msg_id::string_hash;
use hyper::{Method, header::SET_COOKIE};
use serde_json::{Value, json};

use super::log::Log;
use crate::{
    clock,
    wire::http::{Answer, Http},
};

const LOGIN: &str = "cmsg.CReqLogin";

pub struct Visit {
    pub http: Http,
    pub log: Arc<Log>,
    pub account: String,
    pub message: u32,
    pub size: usize,
}

impl Visit {
    /// The login counts from when it was due; what follows from when the visitor got there.
    pub async fn make(mut self, due: u64, messages: u32) {
        if let Err(error) = self.all(due, messages).await {
            // The same words for the same fault, whoever it befell.
            let words = format!("{error:#}").replace(&self.account, "a visitor");
            self.log.error(words);
        }
    }

    async fn all(&mut self, due: u64, messages: u32) -> Result<()> {
        let login = envelope(string_hash(LOGIN), &login(&self.account));
        let answer = self.ask("/login", None, &login).await.context("/login")?;
        let mut token = cookie(&answer).context("/login gave no token")?;
        self.log.answered(0, due);
        for number in 0..messages {
            let begun = clock::now();
            let body = format!("{number}:{}", "x".repeat(self.size));
            let answer = self
                .ask("/message", Some(&token), &envelope(self.message, body.as_bytes()))
                .await;
            let answer = answer.context("/message")?;
            let reply: Value = serde_json::from_slice(&answer.body).context("/message: the reply")?;
            ensure!(reply["bytes"].is_string(), "/message: a reply without bytes");
            self.log.answered(1, begun);
        }
        let begun = clock::now();
        let answer = self.ask("/refresh", Some(&token), "").await.context("/refresh")?;
        token = cookie(&answer).context("/refresh gave no token")?;
        self.log.answered(2, begun);
        let begun = clock::now();
        self.ask("/logout", Some(&token), "").await.context("/logout")?;
        self.log.answered(3, begun);
        Ok(())
    }

    async fn ask(&mut self, path: &str, token: Option<&str>, body: &str) -> Result<Answer> {
        let headers: Vec<_> = token
            .map(|token| ("authorization", format!("Bearer {token}")))
            .into_iter()
            .collect();
        let answer = self.http.request(Method::POST, path, &headers, body.to_owned()).await?;
        ensure!(answer.status == 200, "status {}", answer.status);
        Ok(answer)
    }
}

fn envelope(msg_id: u32, bytes: &[u8]) -> String {
    json!({"msg_id": msg_id, "bytes": STANDARD.encode(bytes)}).to_string()
}

/// `CReqLogin` with its account, which is field 2.
fn login(account: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::string::encode(2, &account.to_owned(), &mut bytes);
    bytes
}

/// The token in `Set-Cookie: token=<jwt>; …`.
fn cookie(answer: &Answer) -> Option<String> {
    let cookie = answer.headers.get(SET_COOKIE)?.to_str().ok()?;
    let token = cookie.strip_prefix("token=")?.split(';').next()?;
    (!token.is_empty()).then(|| token.to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_login_is_what_the_article_sends() {
        assert_eq!(
            super::envelope(3_750_207_756, &super::login("zbj")),
            r#"{"bytes":"EgN6Ymo=","msg_id":3750207756}"#
        );
    }
}
