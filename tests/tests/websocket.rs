//! RFC 6455, as the Autobahn fuzzing client tries it in its groups 1 to 7, 9 and 10, against `/echo`, which runs through
//! the same connection code as every dialect. Numbers are Autobahn's. Where it lets servers choose, this says what
//! Herald does.
#![allow(clippy::unwrap_used)]

use futures_util::{SinkExt, StreamExt};
use herald_tests::{
    PATIENCE,
    client::Upgrade,
    conformance::{
        Case, FINE, NO_CODE, NO_TEXT, PROTOCOL, TOO_BIG, begin, binary, case, close, ends_early, fragments,
        hears_binary, hears_pong, hears_text, hold, last, more, ping, pong, text,
    },
    gateway::{dev_gateway, dev_gateway_with, file},
    raw::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, header, masked},
};
use tokio_tungstenite::tungstenite::Message;

const ECHO: &str = "/echo";
const NOTHING: [(u8, Vec<u8>); 0] = [];

async fn holds(cases: Vec<Case>) {
    let mut gateway = dev_gateway().await;
    hold(gateway.public(), ECHO, cases).await;
    assert!(gateway.running());
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
}

#[tokio::test]
async fn group_1_messages_of_all_sizes() {
    let mut cases = Vec::new();
    for (i, size) in [0, 125, 126, 127, 128, 65_535, 65_536].into_iter().enumerate() {
        let n = i + 1;
        let (stars, bytes) = (vec![b'*'; size], vec![0xfe; size]);
        cases.push(case(format!("1.1.{n}"), [text(&stars)], [hears_text(&stars)], FINE));
        cases.push(case(format!("1.2.{n}"), [binary(&bytes)], [hears_binary(&bytes)], FINE));
    }
    let much = vec![b'*'; 65_537];
    cases.push(case("1.1, beyond the limit", [text(&much)], NOTHING, TOO_BIG));
    cases.push(case(
        "1.2, beyond the limit",
        [fragments(BINARY, &much, 9_000)],
        NOTHING,
        TOO_BIG,
    ));
    holds(cases).await;
}

#[tokio::test]
async fn group_2_pings_and_pongs() {
    let odd = b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff";
    let ten: Vec<Vec<u8>> = (0..10).map(|n| format!("payload-{n}").into_bytes()).collect();
    let pings: Vec<Vec<u8>> = ten.iter().map(ping).collect();
    let pongs: Vec<_> = ten.iter().map(hears_pong).collect();
    holds(vec![
        case("2.1", [ping("")], [hears_pong("")], FINE),
        case("2.2", [ping("Hello, world!")], [hears_pong("Hello, world!")], FINE),
        case("2.3", [ping(odd)], [hears_pong(odd)], FINE),
        case("2.4, 2.6", [ping([0xfe; 125])], [hears_pong([0xfe; 125])], FINE),
        case("2.5", [ping([0xfe; 126])], NOTHING, PROTOCOL),
        case("2.5, a pong", [pong([0xfe; 126])], NOTHING, PROTOCOL),
        case("2.5, of 64 KiB", [ping(vec![0xfe; 65_536])], NOTHING, PROTOCOL),
        case("2.7", [pong("")], NOTHING, FINE),
        case("2.8", [pong("unsolicited")], NOTHING, FINE),
        case("2.9", [pong("unsolicited"), ping("ping")], [hears_pong("ping")], FINE),
        case("2.10, 2.11", pings, pongs, FINE),
    ])
    .await;
}

#[tokio::test]
async fn group_3_reserved_bits() {
    let hello = "Hello, world!";
    let with = |rsv: u8, opcode| masked(FIN | rsv << 4 | opcode, hello.as_bytes());
    let after = |rsv, opcode| [text(hello), with(rsv, opcode), ping("never")];
    let heard = [hears_text(hello)];
    holds(vec![
        case("3.1", [with(1, TEXT)], NOTHING, PROTOCOL),
        case("3.2, 3.3", after(2, TEXT), heard.clone(), PROTOCOL),
        case("3.4", after(4, TEXT), heard.clone(), PROTOCOL),
        case("3.4, all", after(7, TEXT), heard, PROTOCOL),
        case("3.5", [with(5, BINARY)], NOTHING, PROTOCOL),
        case("3.6", [with(6, PING)], NOTHING, PROTOCOL),
        case("3.7", [with(7, CLOSE)], NOTHING, PROTOCOL),
        case(
            "3, in a fragment",
            [begin("a"), with(1, CONTINUATION)],
            NOTHING,
            PROTOCOL,
        ),
        case(
            "3, compression that was not agreed to",
            [masked(FIN | 0x40 | TEXT, b"\xf2H\xcd\xc9\xc9\x07\x00")],
            NOTHING,
            PROTOCOL,
        ),
    ])
    .await;
}

#[tokio::test]
async fn group_4_reserved_opcodes() {
    let mut cases = Vec::new();
    for (group, opcodes) in [(1, 0x3..=0x7_u8), (2, 0xB..=0xF)] {
        for (i, opcode) in opcodes.enumerate() {
            let name = format!("4.{group}.{}", i + 1);
            cases.push(case(&name, [masked(FIN | opcode, b"")], NOTHING, PROTOCOL));
            let after = [text("Hello, world!"), masked(FIN | opcode, b"reserved"), ping("")];
            cases.push(case(
                format!("{name}, after a text"),
                after,
                [hears_text("Hello, world!")],
                PROTOCOL,
            ));
            let within = [begin("a"), masked(FIN | opcode, b"b"), last("c")];
            cases.push(case(format!("{name}, in a text"), within, NOTHING, PROTOCOL));
        }
    }
    holds(cases).await;
}

#[tokio::test]
async fn group_5_fragments() {
    let both = [hears_text("fragment1fragment2")];
    let pinged = [hears_pong("ping"), hears_text("fragment1fragment2")];
    let five = |n: usize| format!("fragment{n}");
    let five_heard = [
        hears_pong("pongme 1!"),
        hears_pong("pongme 2!"),
        hears_text("fragment1fragment2fragment3fragment4fragment5"),
    ];
    let lone = |first: u8| [masked(first, b"non-continuation payload"), text("Hello, world!")];
    let many: Vec<Vec<u8>> = (0..1000)
        .map(|n| if n == 0 { begin("x") } else { more("") })
        .chain([last("y")])
        .collect();
    holds(vec![
        case(
            "5.1",
            [masked(PING, b"fragment1"), last("fragment2")],
            NOTHING,
            PROTOCOL,
        ),
        case(
            "5.2",
            [masked(PONG, b"fragment1"), last("fragment2")],
            NOTHING,
            PROTOCOL,
        ),
        case("5.3, 5.4, 5.5", [begin("fragment1"), last("fragment2")], both, FINE),
        case(
            "5.6, 5.7, 5.8",
            [begin("fragment1"), ping("ping"), last("fragment2")],
            pinged,
            FINE,
        ),
        case("5.9, 5.10, 5.11", lone(FIN | CONTINUATION), NOTHING, PROTOCOL),
        case("5.12, 5.13, 5.14", lone(CONTINUATION), NOTHING, PROTOCOL),
        case(
            "5.15",
            [
                begin("fragment1"),
                last("fragment2"),
                more("fragment3"),
                text("fragment4"),
            ],
            [hears_text("fragment1fragment2")],
            PROTOCOL,
        ),
        case(
            "5.16",
            [more("fragment1"), begin("fragment2"), last("fragment3")],
            NOTHING,
            PROTOCOL,
        ),
        case(
            "5.17",
            [last("fragment1"), begin("fragment2"), last("fragment3")],
            NOTHING,
            PROTOCOL,
        ),
        case("5.18", [begin("fragment1"), text("fragment2")], NOTHING, PROTOCOL),
        case(
            "5.18, binary",
            [masked(BINARY, b"fragment1"), binary("fragment2")],
            NOTHING,
            PROTOCOL,
        ),
        case(
            "5.19, 5.20",
            [
                begin(five(1)),
                more(five(2)),
                ping("pongme 1!"),
                more(five(3)),
                more(five(4)),
                ping("pongme 2!"),
                last(five(5)),
            ],
            five_heard,
            FINE,
        ),
        case("5, a thousand empty ones", many, [hears_text("xy")], FINE),
        case("5, nothing but a beginning", [begin("fragment1")], NOTHING, FINE),
    ])
    .await;
}

#[tokio::test]
async fn group_6_utf8() {
    let mut cases = vec![
        case("6.1.1", [text("")], [hears_text("")], FINE),
        case("6.1.2", [begin(""), more(""), last("")], [hears_text("")], FINE),
        case(
            "6.1.3",
            [begin(""), more("middle frame payload"), last("")],
            [hears_text("middle frame payload")],
            FINE,
        ),
    ];
    // As Autobahn has them: "Hello-µ@ßöäüàá-UTF-8!!", and the word kosme.
    for valid in [
        "Hello-\u{b5}@\u{df}\u{f6}\u{e4}\u{fc}\u{e0}\u{e1}-UTF-8!!",
        "\u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5}",
    ] {
        let bytes = valid.as_bytes();
        cases.push(case("6.2.1", [text(bytes)], [hears_text(bytes)], FINE));
        for size in 1..8 {
            cases.push(case(
                format!("6.2.2 to 6.2.4, by {size}"),
                [fragments(TEXT, bytes, size)],
                [hears_text(bytes)],
                FINE,
            ));
        }
    }
    let broken = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited";
    cases.push(case("6.3.1", [text(broken)], NOTHING, NO_TEXT));
    cases.push(case("6.3.2", [fragments(TEXT, broken, 1)], NOTHING, NO_TEXT));
    for (i, valid) in valid_texts().iter().enumerate() {
        cases.push(case(
            format!("6.5 to 6.23, valid {i}"),
            [text(valid)],
            [hears_text(valid)],
            FINE,
        ));
        cases.push(case(
            format!("6.5 to 6.23, valid {i} by one"),
            [fragments(TEXT, valid, 1)],
            [hears_text(valid)],
            FINE,
        ));
    }
    for (i, invalid) in invalid_texts().iter().enumerate() {
        let surrounded = [b"before ", &invalid[..], b" after"].concat();
        for (how, bytes) in [("alone", invalid), ("within", &surrounded)] {
            cases.push(case(
                format!("6.6 to 6.21, invalid {i} {how}"),
                [text(bytes)],
                NOTHING,
                NO_TEXT,
            ));
            cases.push(case(
                format!("6.6 to 6.21, invalid {i} {how} by one"),
                [fragments(TEXT, bytes, 1)],
                NOTHING,
                NO_TEXT,
            ));
        }
        cases.push(case(
            format!("6, {i} is no text and need not be"),
            [binary(invalid)],
            [hears_binary(invalid)],
            FINE,
        ));
    }
    holds(cases).await;
}

/// Those of Markus Kuhn's test that are valid, and the noncharacters, which are valid too.
fn valid_texts() -> Vec<Vec<u8>> {
    let ends = [
        0, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xfffd, 0xfff9, 0xfffb, 0xffff, 0x10000, 0x10ffff,
    ];
    let noncharacters = (0..=16).flat_map(|plane| [plane << 16 | 0xfffe, plane << 16 | 0xffff]);
    let characters = ends
        .into_iter()
        .chain(noncharacters)
        .map(|c: u32| char::from_u32(c).unwrap().to_string());
    let all: Vec<Vec<u8>> = characters.map(String::into_bytes).collect();
    let words = [
        "hello$world",
        "hello\u{a2}world",
        "hello\u{20ac}world",
        "hello\u{24b62}world",
    ];
    words
        .iter()
        .map(|word| word.as_bytes().to_vec())
        .chain([all.concat()])
        .chain(all)
        .collect()
}

/// And those that are not.
fn invalid_texts() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = vec![
        // Sequences of five and six bytes; code points beyond the last.
        b"\xf8\x88\x80\x80\x80".to_vec(),
        b"\xfc\x84\x80\x80\x80\x80".to_vec(),
        b"\xf7\xbf\xbf\xbf".to_vec(),
        b"\xfb\xbf\xbf\xbf\xbf".to_vec(),
        b"\xfd\xbf\xbf\xbf\xbf\xbf".to_vec(),
        b"\xf4\x90\x80\x80".to_vec(),
        // Continuation bytes without a beginning, and impossible bytes.
        (0x80..0xc0).collect(),
        b"\xfe".to_vec(),
        b"\xff".to_vec(),
        b"\xfe\xfe\xff\xff".to_vec(),
        // Beginnings without an end, one after another.
        b"\xc0\xe0\x80\xf0\x80\x80\xf8\x80\x80\x80\xdf\xef\xbf\xf7\xbf\xbf".to_vec(),
    ];
    all.extend((1..=6).map(|n| [0x80, 0xbf].into_iter().cycle().take(n).collect()));
    for (from, to) in [(0xc0, 0xdf), (0xe0, 0xef), (0xf0, 0xf7), (0xf8, 0xfb), (0xfc, 0xfd)] {
        all.push((from..=to).flat_map(|byte| [byte, b' ']).collect());
    }
    // Cut off.
    all.extend(
        [
            &b"\xc0"[..],
            b"\xe0\x80",
            b"\xf0\x80\x80",
            b"\xdf",
            b"\xef\xbf",
            b"\xf4\x8f\xbf",
        ]
        .map(<[u8]>::to_vec),
    );
    // Longer than need be: a slash, the last of each length, NUL.
    for rest in [0xaf, 0xbf, 0x80] {
        let second = |least: u8| if rest == 0xbf { least | 0x1f } else { 0x80 };
        all.extend([
            vec![if rest == 0xbf { 0xc1 } else { 0xc0 }, rest],
            vec![0xe0, second(0x80), rest],
            vec![
                0xf0,
                if rest == 0xbf { 0x8f } else { 0x80 },
                if rest == 0xbf { 0xbf } else { 0x80 },
                rest,
            ],
        ]);
    }
    // Surrogates, single and in pairs.
    let high = [&b"\xed\xa0\x80"[..], b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xaf\xbf"];
    let low = [&b"\xed\xb0\x80"[..], b"\xed\xbe\x80", b"\xed\xbf\xbf"];
    all.extend(high.iter().chain(&low).map(|single| single.to_vec()));
    all.extend(high.iter().flat_map(|high| low.map(|low| [high, low].concat())));
    all
}

/// Strictly: the connection ends while the rest of the message, or of the frame, is not even sent.
#[tokio::test]
async fn group_6_4_invalid_utf8_is_found_early() {
    let gateway = dev_gateway().await;
    let (good, rest) = (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5", b"edited");
    for bad in [&b"\xf4\x90\x80\x80"[..], b"\xed\xa0\x80"] {
        // 6.4.1, 6.4.2: in the second of three frames.
        ends_early(gateway.public(), ECHO, &[&begin(good), &more(bad)], NO_TEXT).await;
        let (first, second) = bad.split_at(2);
        let parts: [&[u8]; 2] = [&begin([good, &first[..1]].concat()), &more(&first[1..])];
        ends_early(gateway.public(), ECHO, &parts, NO_TEXT).await;
        // 6.4.3, 6.4.4: in the second of three parts of one frame.
        let frame = text([good, first, second, rest].concat());
        let (before, from) = frame.split_at(6 + good.len());
        ends_early(gateway.public(), ECHO, &[before, &from[..2]], NO_TEXT).await;
        ends_early(gateway.public(), ECHO, &[before, &from[..1], &from[1..2]], NO_TEXT).await;
    }
}

#[tokio::test]
async fn heads_that_break_the_rules_are_not_waited_for() {
    let gateway = dev_gateway().await;
    for (head, code) in [
        (header(FIN | PING, 0x80, 126), PROTOCOL),
        (header(FIN | CLOSE, 0x80, 1 << 20), PROTOCOL),
        (header(FIN | TEXT, 0, 5), PROTOCOL),
        (vec![FIN | 0x40 | TEXT], PROTOCOL),
        ([header(FIN | BINARY, 0x80, 1 << 63), vec![0; 4]].concat(), PROTOCOL),
        ([header(FIN | BINARY, 0x80, 65_537), vec![0; 4]].concat(), TOO_BIG),
        (
            [header(FIN | BINARY, 0x80, u64::MAX >> 1), vec![0; 4]].concat(),
            TOO_BIG,
        ),
    ] {
        ends_early(gateway.public(), ECHO, &[&head], code).await;
    }
}

#[tokio::test]
async fn group_7_closes() {
    let bye = |code: u16| masked(FIN | CLOSE, &code.to_be_bytes());
    let hello = "Hello World!";
    let large = vec![b'B'; 60 << 10];
    let mut cases = vec![
        case("7.1.1", [text(hello)], [hears_text(hello)], FINE),
        case("7.1.2", [bye(1000), masked(FIN | CLOSE, b"")], NOTHING, 1000),
        case("7.1.3", [bye(1000), ping("")], NOTHING, 1000),
        case("7.1.4", [bye(1000), text(hello)], NOTHING, 1000),
        case(
            "7.1.5",
            [begin("fragment1"), bye(1000), last("fragment2")],
            NOTHING,
            1000,
        ),
        // What was sent before the close is answered before it, and nothing after it.
        case(
            "7.1.6",
            [text(&large), text(hello), bye(1000), ping("")],
            [hears_text(&large), hears_text(hello)],
            1000,
        ),
        case("7.3.1", [masked(FIN | CLOSE, b"")], NOTHING, NO_CODE),
        case("7.3.2", [masked(FIN | CLOSE, b"a")], NOTHING, PROTOCOL),
        case("7.3.3", [bye(1000)], NOTHING, 1000),
        case("7.3.4", [close(1000, hello)], NOTHING, 1000),
        case("7.3.5", [close(1000, [b'*'; 123])], NOTHING, 1000),
        case("7.3.6", [close(1000, [b'*'; 124])], NOTHING, PROTOCOL),
        case(
            "7.5.1",
            [close(1000, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xed\xa0\x80edited")],
            NOTHING,
            NO_TEXT,
        ),
        case("7.5, cut off", [close(1000, b"\xce")], NOTHING, NO_TEXT),
    ];
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999,
    ] {
        cases.push(case(format!("7.7, {code}"), [bye(code)], NOTHING, code));
    }
    // 7.13 leaves 5000 and 65535 to the server.
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        cases.push(case(format!("7.9, {code}"), [bye(code)], NOTHING, PROTOCOL));
        cases.push(case(
            format!("7.9, {code} with a reason"),
            [close(code, "why")],
            NOTHING,
            PROTOCOL,
        ));
    }
    holds(cases).await;
}

#[tokio::test]
async fn group_9_messages_of_16_mib_where_the_limit_is_raised() {
    const MIB: usize = 1 << 20;
    let config = file("[dialects.echo]\npaths = ['/echo']\nframe = '16MiB'\n[limits]\nbytes_burst = '32MiB'\n");
    let gateway = dev_gateway_with(&["--config", config.path().to_str().unwrap()]).await;
    let mut cases = Vec::new();
    // A clef of four bytes, so that texts are cut within characters.
    let clefs = |bytes: usize| "\u{1d11e}".repeat(bytes / 4).into_bytes();
    for size in [65_537, 256 << 10, MIB, 4 * MIB, 8 * MIB, 16 * MIB] {
        let (words, bytes) = (clefs(size), vec![0xfe; size]);
        cases.push(case(format!("9.1, {size}"), [text(&words)], [hears_text(&words)], FINE));
        cases.push(case(
            format!("9.2, {size}"),
            [binary(&bytes)],
            [hears_binary(&bytes)],
            FINE,
        ));
    }
    let (words, bytes) = (clefs(4 * MIB), vec![0xfe; 4 * MIB]);
    for size in [1_023, 4 << 10, 64 << 10, MIB + 1, 4 * MIB] {
        cases.push(case(
            format!("9.3, by {size}"),
            [fragments(TEXT, &words, size)],
            [hears_text(&words)],
            FINE,
        ));
        cases.push(case(
            format!("9.4, by {size}"),
            [fragments(BINARY, &bytes, size)],
            [hears_binary(&bytes)],
            FINE,
        ));
    }
    cases.push(case(
        "9, beyond the limit",
        [binary(vec![0; 16 * MIB + 1])],
        NOTHING,
        TOO_BIG,
    ));
    hold(gateway.public(), ECHO, cases).await;
}

#[tokio::test]
async fn group_10_a_message_in_fragments_of_1300_bytes() {
    let stars = vec![b'*'; 65_536];
    holds(vec![
        case("10.1.1", [fragments(TEXT, &stars, 1300)], [hears_text(&stars)], FINE),
        case(
            "10.1.1, binary",
            [fragments(BINARY, &stars, 1300)],
            [hears_binary(&stars)],
            FINE,
        ),
    ])
    .await;
}

/// More than may wait for a connection: the server stops reading, and goes on when there is room.
#[tokio::test]
async fn a_burst_of_large_messages_comes_back_whole_to_one_who_reads() {
    const COUNT: usize = 60;
    let gateway = dev_gateway().await;
    let (client, _) = Upgrade::to(gateway.public()).path(ECHO).open().await.unwrap();
    let (mut sink, mut stream) = client.socket.split();
    let payload = |n: usize| vec![u8::try_from(n).unwrap(); 60_000];
    let send = async {
        for n in 0..COUNT {
            sink.send(Message::binary(payload(n))).await.unwrap();
        }
    };
    let read = async {
        let mut come = 0;
        while come < COUNT {
            match stream.next().await.unwrap().unwrap() {
                Message::Binary(bytes) => {
                    assert!(bytes == payload(come), "{come}");
                    come += 1;
                }
                Message::Ping(_) => {}
                other => panic!("{other:?} after {come}"),
            }
        }
    };
    let both = async { tokio::join!(send, read) };
    tokio::time::timeout(PATIENCE, both).await.unwrap();
}
