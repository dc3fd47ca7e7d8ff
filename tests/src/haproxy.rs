//! A real haproxy in front of several gateways: round robin, request by request, or as `deploy/haproxy.cfg` has it.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
};

use tempfile::NamedTempFile;
use tokio::net::TcpStream;

use crate::{eventually, gateway::file};

/// Killed when dropped.
pub struct Haproxy {
    pub address: SocketAddr,
    child: Child,
    log: Option<NamedTempFile>,
    _config: NamedTempFile,
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

impl Haproxy {
    /// Of each gateway where it serves clients and where it says whether it is ready, which is asked five times a
    /// second. What a node that is ending did not answer is asked of another.
    pub async fn start(gateways: &[(SocketAddr, SocketAddr)]) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let servers = gateways.iter().enumerate();
        let servers = servers.map(|(i, (to, admin))| {
            let port = admin.port();
            format!("    server gateway{i} {to} check port {port} inter 200ms fall 3 rise 1\n")
        });
        let servers: String = servers.collect();
        let config = file(&format!(
            "defaults\n    mode http\n    timeout connect 2s\n    timeout check 10s\n    timeout client 60s\n    timeout server 60s\n\
             \x20   option redispatch 1\n    retries 3\n    retry-on conn-failure empty-response\n\
             frontend public\n    bind {address}\n    default_backend gateways\n\
             backend gateways\n    balance roundrobin\n    option forwardfor\n\
             \x20   option httpchk\n    http-check send meth GET uri /health/ready ver HTTP/1.1 hdr Host localhost\n\
             \x20   http-check expect status 200\n{servers}"
        ));
        Self::run(address, config, Stdio::null()).await
    }

    /// With the configuration of `deploy/haproxy.cfg`, where only addresses and sizes differ.
    pub async fn deployed(gateways: &[(SocketAddr, SocketAddr)]) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let servers = gateways.iter().enumerate().map(|(i, (to, admin))| {
            let port = admin.port();
            format!("    server gateway{i} {to} port {port}\n")
        });
        let servers: String = servers.collect();
        let figures = format!("127.0.0.1:{}", free_port());
        let mut config = include_str!("../../deploy/haproxy.cfg").to_owned();
        for (deployed, here) in [
            ("${HERALD_MAXCONN-100000}", "500"),
            ("${HERALD_PUBLIC-:80}", &address.to_string()),
            ("${HERALD_HAPROXY_METRICS-127.0.0.1:8404}", &figures),
            (
                "    server gateway1 \"${HERALD_GATEWAY1-127.0.0.1:8002}\" port \"${HERALD_GATEWAY1_ADMIN-9002}\"\n",
                &servers,
            ),
            (
                "    server gateway2 \"${HERALD_GATEWAY2-127.0.0.1:8012}\" port \"${HERALD_GATEWAY2_ADMIN-9012}\"\n",
                "",
            ),
        ] {
            assert!(config.contains(deployed), "{deployed} is no longer deployed");
            config = config.replace(deployed, here);
        }
        let log = NamedTempFile::new().expect("a temporary file");
        let output = log.reopen().expect("the same file").into();
        let mut haproxy = Self::run(address, file(&config), output).await;
        haproxy.log = Some(log);
        haproxy
    }

    /// What it has written about requests, where it runs as deployed.
    pub fn log(&self) -> String {
        let read = |log: &NamedTempFile| std::fs::read_to_string(log.path());
        self.log.as_ref().and_then(|log| read(log).ok()).unwrap_or_default()
    }

    async fn run(address: SocketAddr, config: NamedTempFile, output: Stdio) -> Self {
        let child = Command::new("haproxy")
            .arg("-f")
            .arg(config.path())
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(Stdio::null())
            .spawn()
            .expect("haproxy is missing: tests/install-tools installs it");
        eventually("haproxy listens", async || TcpStream::connect(address).await.is_ok()).await;
        Self {
            address,
            child,
            log: None,
            _config: config,
        }
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
