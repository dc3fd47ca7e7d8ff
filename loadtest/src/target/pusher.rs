//! The Pusher protocol (version 7), as sockudo and soketi speak it: public channels, published by the HTTP API, whose
//! requests are signed.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Heard, Peer, Publish, Server, To, Who, channel, channels};
use crate::wire::{Outgoing, upgrade::Upgrade};

pub struct Pusher {
    server: Server,
    id: String,
    key: String,
    secret: String,
}

impl Pusher {
    /// The application is given as `id:key:secret`.
    pub fn new(server: Server) -> Self {
        let mut parts = server.app.split(':').map(str::to_owned);
        let mut part = |default: &str| {
            parts
                .next()
                .filter(|part| !part.is_empty())
                .unwrap_or(default.to_owned())
        };
        let (id, key, secret) = (part("app-id"), part("app-key"), part("app-secret"));
        Self {
            server,
            id,
            key,
            secret,
        }
    }
}

impl Peer for Pusher {
    fn upgrade(&self, _who: &Who, _cursor: Option<&str>, path: &str) -> Result<Upgrade> {
        let base = if path.is_empty() { "/app" } else { path };
        Ok(Upgrade {
            path: format!("{base}/{}?protocol=7&client=herald-loadtest&version=1", self.key),
            headers: Vec::new(),
        })
    }

    fn hello(&self, who: &Who) -> Vec<Outgoing> {
        // A group's member follows that channel alone, as it would with the others.
        let all = channels(self.server.run, who);
        let wanted = if who.groups.is_empty() { &all[..] } else { &all[2..] };
        let subscribe = |channel| json!({"event": "pusher:subscribe", "data": {"channel": channel}});
        wanted
            .iter()
            .map(|name| Outgoing::Text(subscribe(name).to_string().into_bytes()))
            .collect()
    }

    fn hear(&self, _who: &Who, frame: &[u8]) -> Heard {
        let Ok(push) = serde_json::from_slice::<Value>(frame) else {
            return Heard::Refused("a frame that is no JSON".into());
        };
        match push["event"].as_str() {
            Some("pusher_internal:subscription_succeeded") => Heard::Ready {
                cursor: None,
                gap: false,
            },
            Some("pusher:ping") => Heard::Reply(Outgoing::Text(br#"{"event":"pusher:pong","data":{}}"#.to_vec())),
            Some("pusher:error") => Heard::Refused(push["data"].to_string()),
            _ => Heard::Nothing,
        }
    }

    fn publish(&self, to: To, body: &str, _id: u32) -> Result<Publish> {
        let name = channel(self.server.run, to);
        let body = json!({"name": "m", "channels": [name], "data": json!({"body": body}).to_string()}).to_string();
        let path = format!("/apps/{}/events", self.id);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = now.context("a clock before 1970")?.as_secs();
        let query = format!(
            "auth_key={}&auth_timestamp={now}&auth_version=1.0&body_md5={}",
            self.key,
            sign::md5_hex(body.as_bytes())
        );
        let signature = sign::hmac_hex(&self.secret, &format!("POST\n{path}\n{query}"))?;
        Ok(Publish::Post {
            path: format!("{path}?{query}&auth_signature={signature}"),
            headers: vec![("content-type", "application/json".into())],
            body,
        })
    }
}

/// The API's signatures.
mod sign {
    use anyhow::{Context, Result};
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use jsonwebtoken::{Algorithm, EncodingKey, crypto};
    use md5::{Digest, Md5};

    pub fn md5_hex(bytes: &[u8]) -> String {
        hex(&Md5::digest(bytes))
    }

    /// HMAC-SHA256, by way of the JWT library, which has it.
    pub fn hmac_hex(secret: &str, text: &str) -> Result<String> {
        let key = EncodingKey::from_secret(secret.as_bytes());
        let signature = crypto::sign(text.as_bytes(), &key, Algorithm::HS256).context("a signature")?;
        Ok(hex(&URL_SAFE_NO_PAD.decode(signature).context("a signature")?))
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[cfg(test)]
    mod tests {
        #[test]
        fn signatures_are_those_of_the_standards() {
            assert_eq!(super::md5_hex(b"abc"), "900150983cd24fb0d6963f7d28e17f72");
            // RFC 4231, test case 2.
            let signed = super::hmac_hex("Jefe", "what do ya want for nothing?").expect("a signature");
            assert_eq!(
                signed,
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
            );
        }
    }
}
