//! Message ids of the HTTP short connections: a hash of a protobuf message's full name.
//!
//! Clients have it compiled in, so it is what it is: CRC-32's polynomial, with a table made for the other direction of
//! shifting. It equals no CRC that libraries know.

const POLYNOMIAL: u32 = 0x04C1_1DB7;

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut c = (i as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            c = if c & 0x8000_0000 == 0 {
                c << 1
            } else {
                (c << 1) ^ POLYNOMIAL
            };
            bit += 1;
        }
        table[i] = c;
        i += 1;
    }
    table
}

/// The id of the message of this full name, such as `cmsg.CReqLogin`. Goes over characters, not bytes, and takes of each
/// the lowest eight bits.
pub fn string_hash(name: &str) -> u32 {
    name.chars()
        .fold(0, |h, ch| (h >> 8) ^ TABLE[((h ^ u32::from(ch)) & 0xFF) as usize])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::string_hash;

    #[test]
    fn ids_are_those_that_clients_send() {
        for (name, id) in [
            ("cmsg.CReqLogin", 3_750_207_756),
            ("cmsg.SRespLogin", 3_334_120_681),
            ("cmsg.CReqMyData", 2_933_023_166),
            ("cmsg.SRespMyData", 2_091_323_817),
            ("cmsg.CReqSendChatMessage", 159_316_688),
            ("cmsg.SRespSendChatMessage", 3_687_654_149),
            ("", 0),
            ("zbj", 3_633_232_873),
        ] {
            assert_eq!(string_hash(name), id, "{name}");
        }
    }

    #[test]
    fn characters_count_and_not_bytes() {
        // U+5C0F ends in the byte 0x0F, as the control character does.
        assert_eq!(string_hash("小"), string_hash("\u{F}"));
        assert_ne!(string_hash("小"), "小".bytes().fold(0, step));
    }

    /// One step without a table: a byte is a polynomial over GF(2), and what enters is its product with x^32, reduced.
    fn step(h: u32, byte: u8) -> u32 {
        let mut product = (u64::from(h as u8 ^ byte)) << 32;
        for degree in (32..40).rev() {
            if product >> degree & 1 == 1 {
                product ^= 0x1_04C1_1DB7 << (degree - 32);
            }
        }
        h >> 8 ^ product as u32
    }

    proptest! {
        #[test]
        fn the_table_does_what_long_division_does(name in "\\PC{0,60}") {
            let by_division = name.chars().fold(0, |h, ch| step(h, u32::from(ch) as u8));
            prop_assert_eq!(string_hash(&name), by_division);
        }

        #[test]
        fn names_of_protobuf_too(name in "[a-z]{1,8}\\.[A-Za-z0-9_]{1,40}") {
            prop_assert_eq!(string_hash(&name), name.bytes().fold(0, step));
        }
    }
}
