//! TCP connections. One address has some 28,000 ports towards a server; from several there are enough.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::WireError;

const PATIENCE: Duration = Duration::from_secs(10);

/// The source for a client: 127.0.0.1 and the addresses after it, where the server is on loopback; else the system's choice.
pub fn source(server: SocketAddr, sources: u32, client: usize) -> Option<Ipv4Addr> {
    if sources <= 1 || !matches!(server.ip(), IpAddr::V4(ip) if ip.is_loopback()) {
        return None;
    }
    let turn = u32::try_from(client).unwrap_or(u32::MAX) % sources;
    Some(Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + turn))
}

pub async fn connect(server: SocketAddr, source: Option<Ipv4Addr>) -> Result<TcpStream, WireError> {
    let connecting = async {
        match source {
            None => TcpStream::connect(server).await,
            Some(source) => from(source, server).await,
        }
    };
    let stream = timeout(PATIENCE, connecting).await.map_err(|_| WireError::Late)??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn from(source: Ipv4Addr, server: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    // Ports of connections that ended a moment ago may be taken again.
    socket.set_reuseaddr(true)?;
    socket.bind((source, 0).into())?;
    socket.connect(server).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_take_turns_on_the_sources_of_loopback() {
        let server: SocketAddr = "127.0.0.1:8002".parse().expect("an address");
        let of = |client| source(server, 3, client).map(|ip| ip.octets()[3]);
        assert_eq!([0, 1, 2, 3].map(of), [Some(1), Some(2), Some(3), Some(1)]);
        assert_eq!(source(server, 1, 5), None);
        assert_eq!(source("10.0.0.1:80".parse().expect("an address"), 3, 1), None);
    }
}
