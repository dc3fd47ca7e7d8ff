//! A real nginx in front of a gateway, with the configuration of `deploy/nginx.conf`.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::{eventually, haproxy::free_port};

/// Ended when dropped.
pub struct Nginx {
    pub address: SocketAddr,
    child: Child,
    folder: TempDir,
}

impl Nginx {
    /// Only addresses and folders differ from what is deployed.
    pub async fn start(gateways: &[SocketAddr]) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let folder = tempfile::tempdir().expect("a folder");
        let here = folder.path().display().to_string();
        let deployed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/nginx.conf");
        let mut config = std::fs::read_to_string(deployed).expect("the deployed configuration");
        let servers: String = gateways.iter().map(|gateway| format!("server {gateway};\n")).collect();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {here}/{kind};\n"))
            .collect();
        for (deployed, here) in [
            ("/run/nginx.pid", format!("{here}/pid")),
            ("/var/log/nginx", here.clone()),
            ("listen 80;", format!("listen {address};")),
            ("server 127.0.0.1:8002;", servers),
            ("http {", format!("http {{\n{temporary}")),
            ("worker_processes auto;", "worker_processes 1;\ndaemon off;".to_owned()),
            ("worker_connections 65536;", "worker_connections 512;".to_owned()),
        ] {
            assert!(config.contains(deployed), "{deployed} is no longer deployed");
            config = config.replace(deployed, &here);
        }
        let path = folder.path().join("nginx.conf");
        std::fs::write(&path, config).expect("room for it");
        let child = Command::new("nginx")
            .arg("-c")
            .arg(&path)
            .arg("-e")
            .arg(folder.path().join("start.log"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("nginx is missing: tests/install-tools installs it");
        eventually("nginx listens", async || TcpStream::connect(address).await.is_ok()).await;
        Self { address, child, folder }
    }

    /// What it has written about requests.
    pub fn log(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.path(name)).unwrap_or_default();
        read("herald-access.log") + &read("herald-error.log")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // A master that is killed leaves its worker behind, which holds the port: asked to end, it ends both.
        let id = i32::try_from(self.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        if let Some(id) = id {
            let _ended = rustix::process::kill_process(id, rustix::process::Signal::TERM).is_ok();
        }
        let _ = self.child.wait();
    }
}
