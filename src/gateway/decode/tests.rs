//! Bodies in every coding and cut, damaged ones, and bombs.

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;

const CODINGS: [Coding; 3] = [Coding::Gzip, Coding::Brotli, Coding::Zstd];

/// What `tests/fixtures/encodings` has of brotli, for which there is no encoder here: the text below.
const SAMPLE: &[u8] = include_bytes!("../../../tests/fixtures/encodings/sample.json");
const SAMPLE_BR: &[u8] = include_bytes!("../../../tests/fixtures/encodings/sample.json.br");
/// 100 MiB of zeros.
const BOMB_BR: &[u8] = include_bytes!("../../../tests/fixtures/encodings/bomb.br");

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Brotli without compression: meta-blocks of at most 64 KiB as they are (RFC 7932 9.2).
fn brotli(bytes: &[u8]) -> Vec<u8> {
    // WBITS 16 is one zero bit; then for each block ISLAST 0, MNIBBLES 4, MLEN - 1, ISUNCOMPRESSED 1, and bits to the next byte.
    let mut encoded = Vec::new();
    for (index, block) in bytes.chunks(1 << 16).enumerate() {
        let length = (block.len() - 1) as u32;
        let (bits, count) = (length << 3 | 1 << 19, 20);
        let (bits, count) = if index == 0 { (bits << 1, count + 1) } else { (bits, count) };
        encoded.extend_from_slice(&bits.to_le_bytes()[..((count + 7) / 8) as usize]);
        encoded.extend_from_slice(block);
    }
    // ISLAST 1, ISLASTEMPTY 1; with WBITS before it where nothing was.
    encoded.push(if bytes.is_empty() { 0b110 } else { 0b11 });
    encoded
}

fn encode(coding: Coding, bytes: &[u8]) -> Vec<u8> {
    match coding {
        Coding::Gzip => gzip(bytes),
        Coding::Brotli => brotli(bytes),
        Coding::Zstd => zstd::encode_all(bytes, 3).unwrap(),
    }
}

fn decode<'a>(coding: Coding, pieces: impl IntoIterator<Item = &'a [u8]>, most: usize) -> Result<Bytes, DecodeError> {
    let mut decoder = Decoder::new(coding, most)?;
    for piece in pieces {
        decoder.feed(piece)?;
    }
    decoder.finish()
}

#[test]
fn real_brotli_is_decoded() {
    assert_eq!(decode(Coding::Brotli, SAMPLE_BR.chunks(1), 1 << 20).unwrap(), SAMPLE);
    assert!(SAMPLE_BR.len() < SAMPLE.len());
}

#[test]
fn a_bomb_stops_at_the_cap_and_holds_no_more() {
    let zeros = vec![0; 100 << 20];
    for (coding, bomb) in
        [(Coding::Gzip, gzip(&zeros)), (Coding::Zstd, encode(Coding::Zstd, &zeros)), (Coding::Brotli, BOMB_BR.to_vec())]
    {
        assert!(bomb.len() < 200_000, "{coding:?}: {}", bomb.len());
        for cap in [0, 1, 1000, 1 << 20] {
            let mut decoder = Decoder::new(coding, cap).unwrap();
            assert_eq!(decoder.feed(&bomb), Err(DecodeError::TooLarge), "{coding:?} {cap}");
            let held = match &decoder.0 {
                Inner::Gzip(gzip) => gzip.get_ref().bytes.capacity(),
                Inner::Brotli(brotli) => brotli.decoded.bytes.capacity(),
                Inner::Zstd(zstd) => zstd.decoded.bytes.capacity(),
            };
            assert!(held <= cap, "{coding:?}: {held} held of {cap}");
        }
        assert_eq!(decode(coding, [&bomb[..]], 100 << 20).unwrap(), zeros, "{coding:?}");
    }
}

#[test]
fn what_was_cut_or_goes_on_is_corrupt() {
    for coding in CODINGS {
        let whole = encode(coding, SAMPLE);
        for end in 0..whole.len() {
            assert_eq!(decode(coding, [&whole[..end]], 1 << 20), Err(DecodeError::Corrupt), "{coding:?} to {end}");
        }
        for after in [&b"x"[..], b"{\"model\":\"m\"}", b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"] {
            let followed = [&whole[..], after].concat();
            assert_eq!(decode(coding, [&followed[..]], 1 << 20), Err(DecodeError::Corrupt), "{coding:?} {after:?}");
            assert_eq!(decode(coding, followed.chunks(1), 1 << 20), Err(DecodeError::Corrupt), "{coding:?} {after:?}");
        }
        assert_eq!(decode(coding, [SAMPLE], 1 << 20), Err(DecodeError::Corrupt), "{coding:?}: plain");
    }
}

#[test]
fn members_and_frames_may_follow_each_other() {
    for coding in [Coding::Gzip, Coding::Zstd] {
        let two = [encode(coding, b"{\"a\":"), encode(coding, b"1}")].concat();
        assert_eq!(decode(coding, two.chunks(1), 7).unwrap(), &b"{\"a\":1}"[..]);
    }
}

#[test]
fn a_window_beyond_8_mib_is_refused_before_it_is_made() {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
    encoder.set_parameter(zstd::zstd_safe::CParameter::WindowLog(27)).unwrap();
    encoder.write_all(SAMPLE).unwrap();
    let wide = encoder.finish().unwrap();
    assert_eq!(decode(Coding::Zstd, [&wide[..]], 1 << 20), Err(DecodeError::Corrupt));
    // Large-window brotli: its first byte is 0x11.
    assert_eq!(decode(Coding::Brotli, [&[0x11, 0x3e, 0, 0, 0][..]], 1 << 20), Err(DecodeError::Corrupt));
}

proptest! {
    #[test]
    fn any_cut_decodes_to_what_was_encoded(
        text in proptest::collection::vec(any::<u8>(), 0..2_000),
        repeat in 1_usize..100,
        size in 1_usize..3_000,
    ) {
        let text = text.repeat(repeat);
        for coding in CODINGS {
            let encoded = encode(coding, &text);
            prop_assert_eq!(&decode(coding, encoded.chunks(size), text.len()).unwrap()[..], &text[..]);
            if !text.is_empty() {
                prop_assert_eq!(decode(coding, encoded.chunks(size), text.len() - 1), Err(DecodeError::TooLarge));
            }
        }
    }

    #[test]
    fn any_bytes_are_decoded_within_the_cap_or_refused(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..300),
        begin in 0..3_usize,
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
    ) {
        for coding in CODINGS {
            if begin > 0 {
                bytes = encode(coding, &SAMPLE.repeat(begin));
                for (at, byte) in &changes {
                    let at = at.index(bytes.len());
                    bytes[at] = *byte;
                }
            }
            let whole = decode(coding, [&bytes[..]], 4_096);
            prop_assert_eq!(&whole, &decode(coding, bytes.chunks(1), 4_096));
            prop_assert!(whole.is_err() || whole.unwrap().len() <= 4_096);
        }
    }
}
