//! Makes API keys, and knows one of ours by its form.
//!
//! A key is `sk-tg-`, 43 characters for 256 random bits, and 6 characters for the CRC-32 (IEEE) of all text before them;
//! both in base 62 (digits, capitals, small letters; most significant first, padded with `0`). So a secret scanner can tell
//! a key from other text without asking anybody, and a double click selects all of it but the prefix. Must not know tenants:
//! what a key opens is decided by its digest alone.

use std::io::{self, Write};

use sha2::{Digest, Sha256};

use super::Exit;

/// What every key starts with.
pub const PREFIX: &str = "sk-tg-";
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 62^43 is just above 2^256.
const RANDOM: usize = 43;
/// 62^6 is above 2^32.
const CHECKSUM: usize = 6;

/// Prints a fresh key and the line for the file.
///
/// # Errors
/// Those of `out` and `err`. Where the system gives no random bytes or the label is unusable, that is written to `err`.
pub fn run(label: Option<&str>, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<Exit> {
    if label.is_some_and(|label| label.trim().is_empty() || label.chars().any(char::is_control)) {
        writeln!(err, "the label is empty or has control characters; write for example --label ci")?;
        return Ok(Exit::Unusable);
    }
    let mut random = [0; 32];
    if let Err(error) = getrandom::fill(&mut random) {
        writeln!(err, "the system gave no random bytes: {error}")?;
        return Ok(Exit::Failed);
    }
    let key = key_of(&random);
    let mut fields = format!("sha256 = \"{}\"", hex(&digest(&key)));
    if let Some(label) = label {
        fields.push_str(&format!(", label = {}", toml::Value::from(label)));
    }
    writeln!(out, "{key}")?;
    writeln!(out)?;
    writeln!(
        out,
        "# This is the only time that the key is shown: hand it to whoever calls. For the file, under its tenant:"
    )?;
    writeln!(out, "keys = [{{ {fields} }}]")?;
    writeln!(out, "# With a day from whose 00:00 UTC on it is refused: {{ {fields}, expires = 2030-01-01 }}")?;
    Ok(Exit::Well)
}

/// The key of 256 random bits.
#[must_use]
pub fn key_of(random: &[u8; 32]) -> String {
    let body = format!("{PREFIX}{}", base62(random, RANDOM));
    let checksum = checksum(&body);
    body + &checksum
}

/// The digest under which the configuration knows a key.
#[must_use]
pub fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// Whether a text has the form of our keys and its checksum is right. Says nothing about whether any tenant has it.
#[must_use]
pub fn checksum_ok(key: &str) -> bool {
    let Some(rest) = key.strip_prefix(PREFIX) else { return false };
    if rest.len() != RANDOM + CHECKSUM || !rest.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return false;
    }
    let (body, given) = key.split_at(PREFIX.len() + RANDOM);
    checksum(body) == given
}

fn checksum(body: &str) -> String {
    base62(&crc32fast::hash(body.as_bytes()).to_be_bytes(), CHECKSUM)
}

/// A big-endian number in base 62, padded to `width`.
fn base62(bytes: &[u8], width: usize) -> String {
    let mut number = bytes.to_vec();
    let mut digits = vec![b'0'; width];
    for digit in digits.iter_mut().rev() {
        let mut remainder = 0_u32;
        for byte in &mut number {
            let value = (remainder << 8) | u32::from(*byte);
            *byte = (value / 62) as u8;
            remainder = value % 62;
        }
        *digit = ALPHABET[remainder as usize];
    }
    digits.into_iter().map(char::from).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn base_62_counts_as_numbers_do() {
        assert_eq!(base62(&[0], 3), "000");
        assert_eq!(base62(&[61], 3), "00z");
        assert_eq!(base62(&[62], 3), "010");
        assert_eq!(base62(&[1, 0], 3), "048");
    }

    #[test]
    fn the_largest_number_fits_its_width() {
        assert_eq!(base62(&[255; 4], CHECKSUM), "4gfFC3");
        assert_ne!(&base62(&[255; 32], RANDOM)[..1], "0");
        let wider = base62(&[255; 32], RANDOM + 1);
        assert_eq!(&wider[..1], "0");
    }

    #[test]
    fn a_fresh_key_and_its_line_fit_together() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(run(Some("c\"i"), &mut out, &mut err).unwrap(), Exit::Well);
        let out = String::from_utf8(out).unwrap();
        let key = out.lines().next().unwrap();
        assert!(checksum_ok(key) && key.len() == 55, "{key}");
        assert_eq!(out.matches(key).count(), 1);
        let line = out.lines().find(|line| line.starts_with("keys")).unwrap();
        let table: toml::Table = line.parse().unwrap();
        assert_eq!(table["keys"][0]["sha256"].as_str().unwrap(), hex(&digest(key)));
        assert_eq!(table["keys"][0]["label"].as_str().unwrap(), "c\"i");
    }

    #[test]
    fn a_label_that_cannot_be_written_is_refused() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(run(Some("a\nb"), &mut out, &mut err).unwrap(), Exit::Unusable);
        assert!(out.is_empty() && !err.is_empty());
    }

    proptest! {
        #[test]
        fn every_key_has_its_checksum_and_no_neighbour_does(random: [u8; 32], at in 6..55_usize, other in 0..62_usize) {
            let key = key_of(&random);
            prop_assert!(checksum_ok(&key));
            let mut bytes = key.clone().into_bytes();
            if bytes[at] != ALPHABET[other] {
                bytes[at] = ALPHABET[other];
                prop_assert!(!checksum_ok(&String::from_utf8(bytes).unwrap()));
            }
            prop_assert!(!checksum_ok(&key[..54]));
        }

        #[test]
        fn no_text_breaks_the_checksum(text in "(sk-tg-)?\\PC{0,60}") {
            let _ = checksum_ok(&text);
        }
    }
}
