use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::conn::socket;

pub(super) fn frame(head: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![head];
    match payload.len() {
        n @ 0..=125 => bytes.push(0x80 | u8::try_from(n).unwrap()),
        n @ 126..=65_535 => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(n).unwrap().to_be_bytes());
        }
        n => {
            bytes.push(0x80 | 127);
            bytes.extend((n as u64).to_be_bytes());
        }
    }
    let key = [1, 2, 3, 4];
    bytes.extend(key);
    bytes.extend(payload.iter().enumerate().map(|(i, b)| b ^ key[i % 4]));
    bytes
}

async fn pair(ahead: Vec<u8>, max: usize) -> (Receiver, Socket, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (Receiver::new(&ahead, max), server.into(), client)
}

/// All that comes out of `bytes`, and how it broke the rules.
async fn receive(bytes: &[u8], max: usize) -> (Vec<String>, Option<Broken>) {
    let (mut receiver, server, mut client) = pair(Vec::new(), max).await;
    client.write_all(bytes).await.unwrap();
    client.shutdown().await.unwrap();
    let mut got = Vec::new();
    loop {
        if receiver.readable(&server).await.is_err() {
            return (got, None);
        }
        loop {
            match receiver.take() {
                Ok(Some(Received::Part)) => {}
                Ok(Some(received)) => got.push(match received {
                    Received::Text(t) => String::from_utf8(t.to_vec()).unwrap(),
                    other => format!("{other:?}"),
                }),
                Ok(None) => break,
                Err(broken) => return (got, Some(broken)),
            }
        }
    }
}

#[tokio::test]
async fn fragments_become_one_message_with_control_frames_between() {
    let mut bytes = frame(0x01, "h\u{e9}".as_bytes().split_at(2).0);
    bytes.extend(frame(0x89, b"p"));
    bytes.extend(frame(0x80, "h\u{e9}llo".as_bytes().split_at(2).1));
    bytes.extend(frame(0x82, b"\x01"));
    let (got, end) = receive(&bytes, 100).await;
    assert_eq!(got, ["Ping(b\"p\")", "h\u{e9}llo", "Binary(b\"\\x01\")"]);
    assert_eq!(end, None);
}

#[tokio::test]
async fn every_byte_is_told_of_once_in_parts_as_well() {
    let frames = [
        frame(0x01, b"abc"),
        frame(0x80, b""),
        frame(0x89, b"p"),
        frame(0x82, &[0; 300]),
    ];
    let (mut receiver, server, mut client) = pair(Vec::new(), 1000).await;
    client.write_all(&frames.concat()).await.unwrap();
    receiver.readable(&server).await.unwrap();
    let mut got = Vec::new();
    while let Some(received) = receiver.take().unwrap() {
        let part = matches!(received, Received::Part);
        got.push((part, usize::try_from(receiver.taken()).unwrap()));
    }
    let lengths = frames.map(|frame| frame.len());
    assert_eq!(
        got,
        [
            (true, lengths[0]),
            (false, lengths[1]),
            (false, lengths[2]),
            (false, lengths[3])
        ]
    );
}

#[tokio::test]
async fn rules_are_kept() {
    let too_big = [frame(0x01, &[b'x'; 120]), frame(0x80, &[b'x'; 120])].concat();
    let unmasked = b"\x81\x01a".to_vec();
    let nested = [frame(0x01, b"a"), frame(0x81, b"b")].concat();
    for (name, bytes, code) in [
        ("too big", frame(0x82, &[0; 201]), CloseCode::TooBig),
        ("too big in fragments", too_big, CloseCode::TooBig),
        ("unmasked", unmasked, CloseCode::ProtocolError),
        ("invalid text", frame(0x81, b"\xff"), CloseCode::InvalidPayload),
        (
            "invalid text found early",
            frame(0x01, b"\xff"),
            CloseCode::InvalidPayload,
        ),
        (
            "cut off text",
            [frame(0x01, b"\xc3"), frame(0x80, b"")].concat(),
            CloseCode::InvalidPayload,
        ),
        ("reserved bit", frame(0xc1, b"a"), CloseCode::ProtocolError),
        ("reserved opcode", frame(0x83, b"a"), CloseCode::ProtocolError),
        ("lone continuation", frame(0x80, b"a"), CloseCode::ProtocolError),
        ("text in a text", nested, CloseCode::ProtocolError),
        ("fragmented ping", frame(0x09, b""), CloseCode::ProtocolError),
        ("long ping", frame(0x89, &[0; 126]), CloseCode::ProtocolError),
        ("long pong", frame(0x8a, &[0; 126]), CloseCode::ProtocolError),
        ("close of one byte", frame(0x88, b"a"), CloseCode::ProtocolError),
        ("close with 1005", frame(0x88, b"\x03\xed"), CloseCode::ProtocolError),
        (
            "close with bad text",
            frame(0x88, b"\x03\xe8\xff"),
            CloseCode::InvalidPayload,
        ),
    ] {
        assert_eq!(receive(&bytes, 200).await, (vec![], Some(Broken(code))), "{name}");
    }
    let (got, _) = receive(&frame(0x82, &[0; 200]), 200).await;
    assert_eq!(got.len(), 1, "exactly the limit passes");
    let (got, _) = receive(&frame(0x88, b"\x0f\xa0bye"), 100).await;
    assert_eq!(got, ["Close(Some(4000))"]);
}

/// Reads the messages of [`sequence`] as they come.
async fn read_all(receiver: &mut Receiver, server: &Socket, messages: &[String]) {
    let mut got = Vec::new();
    while got.len() < messages.len() {
        receiver.readable(server).await.unwrap();
        while let Some(Received::Text(text)) = receiver.take().unwrap() {
            got.push(String::from_utf8(text.to_vec()).unwrap());
        }
    }
    assert_eq!(got, messages);
}

fn sequence() -> (Vec<String>, Vec<u8>) {
    let messages: Vec<String> = (0..200).map(|i| "x".repeat(i * 7 % 300)).collect();
    let bytes = messages.iter().flat_map(|m| frame(0x81, m.as_bytes())).collect();
    (messages, bytes)
}

#[tokio::test]
async fn no_byte_is_lost_however_they_are_cut() {
    let (messages, bytes) = sequence();
    let (ahead, rest) = bytes.split_at(1000);
    let (mut receiver, server, mut client) = pair(ahead.to_vec(), 1000).await;
    let rest = rest.to_vec();
    let sender = tokio::spawn(async move {
        for chunk in rest.chunks(97) {
            client.write_all(chunk).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    read_all(&mut receiver, &server, &messages).await;
    sender.await.unwrap();
}

/// Beneath TLS more may have been decrypted than a read asked for, and the socket does not tell of that.
#[tokio::test]
async fn no_byte_is_lost_beneath_tls() {
    let (messages, bytes) = sequence();
    for size in [97, 5_000, bytes.len()] {
        let (server, mut client) = socket::tests::secured().await;
        let mut receiver = Receiver::new(&[], 1000);
        let bytes = bytes.clone();
        let sender = tokio::spawn(async move {
            for chunk in bytes.chunks(size) {
                client.write_all(chunk).await.unwrap();
                tokio::task::yield_now().await;
            }
            client
        });
        let reading = read_all(&mut receiver, &server, &messages);
        tokio::time::timeout(Duration::from_secs(30), reading).await.unwrap();
        sender.await.unwrap();
    }
}
