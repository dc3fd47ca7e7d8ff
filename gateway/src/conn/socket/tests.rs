use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ClientConfig, RootCertStore, ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client};

use super::*;

/// A connection over TLS: the gateway's socket, and a client whose kernel takes in little.
pub(in crate::conn) async fn secured() -> (Socket, client::TlsStream<TcpStream>) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let trusting = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let client = socket.connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    let connector = TlsConnector::from(Arc::new(trusting));
    let (server, client) = tokio::join!(
        TlsAcceptor::from(Arc::new(config)).accept(server),
        connector.connect("localhost".try_into().unwrap(), client),
    );
    (server.unwrap().into(), client.unwrap())
}

fn is_pending<T>(outcome: &io::Result<T>) -> bool {
    matches!(outcome, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

#[tokio::test]
async fn what_is_encrypted_counts_as_written_only_when_all_of_it_is_sent() {
    let (socket, mut client) = secured().await;
    let sent: Vec<u8> = (0..20_000_000u32).map(|i| (i % 251) as u8).collect();
    let mut frames = Frames::from(Bytes::from(sent.clone()));
    let mut written = 0;
    loop {
        match socket.try_write(&frames) {
            Ok(some) => {
                frames.advance(some);
                written += some;
            }
            stuck => {
                assert!(is_pending(&stuck), "{stuck:?}");
                break;
            }
        }
    }
    assert!(written < sent.len(), "the client has read nothing");
    // What has been written can be read without another write, even if the rest never comes.
    let mut got = vec![0; written];
    timeout(Duration::from_secs(30), client.read_exact(&mut got))
        .await
        .unwrap()
        .unwrap();
    assert!(got == sent[..written]);

    let write = async {
        while !frames.is_empty() {
            match socket.try_write(&frames) {
                Ok(some) => frames.advance(some),
                stuck if is_pending(&stuck) => socket.writable().await.unwrap(),
                failed => panic!("{failed:?}"),
            }
        }
        socket.shut_down();
    };
    let mut rest = Vec::new();
    // Without a word of goodbye this would fail.
    let (read, ()) = tokio::join!(client.read_to_end(&mut rest), write);
    read.unwrap();
    assert!(rest == sent[written..]);
}

#[tokio::test]
async fn many_small_frames_share_a_record() {
    let (socket, mut client) = secured().await;
    let mut frames = Frames::default();
    let all: Vec<u8> = (0..50).collect();
    for byte in &all {
        frames.push_back(Bytes::copy_from_slice(&[*byte]));
    }
    assert_eq!(socket.try_write(&frames).unwrap(), all.len());
    let mut got = [0; 100];
    assert_eq!(client.read(&mut got).await.unwrap(), all.len());
    assert_eq!(got[..all.len()], all);
}

#[tokio::test]
async fn a_client_that_is_gone_is_the_end_or_an_error() {
    for politely in [true, false] {
        let (socket, mut client) = secured().await;
        client.write_all(b"last words").await.unwrap();
        if politely {
            client.shutdown().await.unwrap();
        }
        drop(client);
        let mut space = [0; 100];
        let mut heard = Vec::new();
        let end = loop {
            let mut buf = ReadBuf::new(&mut space);
            let read = std::future::poll_fn(|cx| socket.poll_read(cx, &mut buf));
            match timeout(Duration::from_secs(30), read).await.unwrap() {
                Ok(()) if buf.filled().is_empty() => break true,
                Ok(()) => heard.extend_from_slice(buf.filled()),
                Err(_) => break false,
            }
        };
        assert_eq!((heard.as_slice(), end), (&b"last words"[..], politely));
    }
}

async fn plain() -> (Socket, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (server.into(), client)
}

async fn read_some(socket: &Socket, room: usize) -> Vec<u8> {
    let mut space = vec![0; room];
    let mut buf = ReadBuf::new(&mut space);
    let read = std::future::poll_fn(|cx| socket.poll_read(cx, &mut buf));
    timeout(Duration::from_secs(30), read).await.unwrap().unwrap();
    buf.filled().to_vec()
}

#[tokio::test]
async fn what_does_not_fill_the_room_was_all_and_no_call_is_made_to_find_that_out() {
    let (socket, mut client) = plain().await;
    let is_ready = || !is_pending(&socket.tcp().try_io(Interest::READABLE, || Ok(())));
    client.write_all(b"1234567890").await.unwrap();
    assert_eq!(read_some(&socket, 4).await, b"1234");
    assert!(is_ready(), "there may be more");
    assert_eq!(read_some(&socket, 4096).await, b"567890");
    assert!(!is_ready(), "that was all");
    client.write_all(b"later").await.unwrap();
    assert_eq!(read_some(&socket, 4096).await, b"later");
    // The end that comes with the last bytes is seen.
    client.write_all(b"last").await.unwrap();
    drop(client);
    assert_eq!(read_some(&socket, 4096).await, b"last");
    assert_eq!(read_some(&socket, 4096).await, b"");
}

#[tokio::test]
async fn bytes_that_come_one_by_one_are_all_read() {
    let (socket, mut client) = plain().await;
    let send = async move {
        for byte in 0..=255u8 {
            for _ in 0..40 {
                client.write_all(&[byte]).await.unwrap();
            }
        }
    };
    let sending = tokio::spawn(send);
    let mut got = Vec::new();
    loop {
        let some = read_some(&socket, 7 + got.len() % 5000).await;
        if some.is_empty() {
            break;
        }
        got.extend(some);
    }
    sending.await.unwrap();
    let expected: Vec<u8> = (0..=255u8).flat_map(|byte| [byte; 40]).collect();
    assert!(got == expected, "{} bytes", got.len());
}
