//! Gateways that stand alone: one in `--dev`, or one with a configuration.

use std::io::Write;

use tempfile::NamedTempFile;

use crate::process::Node;

pub const FREE: &str = "127.0.0.1:0";

/// `herald-gateway --dev` on free ports: everything in one process.
pub async fn dev_gateway() -> Node {
    dev_gateway_with(&[]).await
}

pub async fn dev_gateway_with(more: &[&str]) -> Node {
    let arguments = [&["--dev", "--listen", FREE, "--admin", FREE], more].concat();
    let mut node = Node::start("herald-gateway", arguments).await;
    node.listens("public").await;
    node
}

/// The key of [`Config`]'s tokens.
pub const SECRET: &str = "a-secret-of-these-tests-alone-0123456789";
/// The API key of [`Config`].
pub const API_KEY: &str = "an-api-key-of-these-tests-alone-0123456789";

/// A gateway's configuration without `--dev`: free ports, one HS256 key and one API key, and what a test adds to the
/// tables.
#[derive(Default)]
pub struct Config {
    pub public: String,
    pub auth: String,
    /// More `[[auth.keys]]` tables.
    pub keys: String,
    pub limits: String,
    pub router: String,
    /// Whole tables.
    pub rest: String,
}

impl Config {
    pub fn text(&self) -> String {
        let Self {
            public,
            auth,
            keys,
            limits,
            router,
            rest,
        } = self;
        format!(
            "drain = \"1s\"\n[public]\nlisten = [\"{FREE}\"]\n{public}\n[admin]\nlisten = \"{FREE}\"\n\
             [[admin.api_keys]]\nname = \"ops\"\nkey = \"{API_KEY}\"\n[auth]\n{auth}\n\
             [[auth.keys]]\nalgorithm = \"HS256\"\nsecret = \"{SECRET}\"\n{keys}\n\
             [limits]\n{limits}\n[router]\n{router}\n{rest}\n"
        )
    }

    pub async fn start(&self) -> Node {
        let file = file(&self.text());
        let path = file.path().to_owned();
        let mut node = Node::spawn("herald-gateway", ["--config".as_ref(), path.as_os_str()]);
        node.files.push(file);
        node.ready().await;
        node.listens("public").await;
        node
    }
}

/// A file that goes with its handle.
pub fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("room for it");
    file
}
