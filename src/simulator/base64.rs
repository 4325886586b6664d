//! Writes bytes as text: base64.
//!
//! Must not know what the bytes are.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 with padding (RFC 4648, section 4).
pub(super) fn base64(bytes: impl Iterator<Item = u8>) -> String {
    let mut text = String::new();
    let (mut held, mut bits) = (0_u32, 0_u32);
    for byte in bytes {
        held = ((held << 8) | u32::from(byte)) & 0x3fff;
        bits += 8;
        while bits >= 6 {
            bits -= 6;
            text.push(letter(held >> bits));
        }
    }
    if bits > 0 {
        text.push(letter(held << (6 - bits)));
    }
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

fn letter(six_bits: u32) -> char {
    char::from(ALPHABET[(six_bits & 63) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let pairs =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")];
        for (plain, encoded) in pairs {
            assert_eq!(base64(plain.bytes()), encoded);
        }
        let numbers = [0.5_f32, -0.25, 0.125];
        assert_eq!(base64(numbers.iter().flat_map(|n| n.to_le_bytes())), "AAAAPwAAgL4AAAA+", "the fixture's vector");
    }
}
