//! The server API as an application's backend uses it.

use std::net::SocketAddr;

use serde_json::Value;

use crate::http::{DEV_API_KEY, Response, request};

/// One gateway's admin listener, with a key.
#[derive(Debug, Clone)]
pub struct Api {
    admin: SocketAddr,
    bearer: String,
}

impl Api {
    /// With the development key.
    pub fn dev(admin: SocketAddr) -> Self {
        Self::with_key(admin, DEV_API_KEY)
    }

    pub fn with_key(admin: SocketAddr, key: &str) -> Self {
        Self {
            admin,
            bearer: format!("Bearer {key}"),
        }
    }

    /// `path` begins behind `/api/v1/`.
    pub async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Response {
        let headers = [
            ("Authorization", self.bearer.as_str()),
            ("Content-Type", "application/json"),
        ];
        let body = body.map(Value::to_string).unwrap_or_default();
        request(
            self.admin,
            method,
            &format!("/api/v1/{path}"),
            &headers,
            body.as_bytes(),
        )
        .await
    }

    /// The answer of a call that must succeed.
    pub async fn ok(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let response = self.call(method, path, body).await;
        assert_eq!(response.status, 200, "{method} {path}: {response:?}");
        response.json()
    }

    pub async fn get(&self, path: &str) -> Value {
        self.ok("GET", path, None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Value {
        self.ok("POST", path, Some(body)).await
    }

    pub async fn put(&self, path: &str) -> Value {
        self.ok("PUT", path, None).await
    }

    pub async fn delete(&self, path: &str) -> Value {
        self.ok("DELETE", path, None).await
    }

    /// The status and the code of a call that must fail.
    pub async fn refused(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, String) {
        let response = self.call(method, path, body).await;
        let code = response.json()["error"]["code"].as_str().map(str::to_owned);
        (response.status, code.expect("a code"))
    }

    /// All pages of a list: the entries under `name`.
    pub async fn all(&self, path: &str, name: &str, limit: usize) -> Vec<Value> {
        let mut entries = Vec::new();
        let mut after = String::new();
        let mark = if path.contains('?') { '&' } else { '?' };
        loop {
            let page = self.get(&format!("{path}{mark}limit={limit}{after}")).await;
            let of_page = page[name].as_array().expect("entries");
            assert!(of_page.len() <= limit, "{page}");
            entries.extend(of_page.iter().cloned());
            match page["next"].as_str() {
                Some(next) => after = format!("&after={}", encoded(next)),
                None => return entries,
            }
        }
    }
}

/// An id as it stands in a path or a query.
pub fn encoded(id: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let encode = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    id.bytes().map(encode).collect()
}
