//! Draws a picture of 8 by 8 points, and writes it as PNG (W3C, "Portable Network Graphics").
//!
//! Must not know what it shows: the colours follow from a seed.

use super::super::text::Seed;

const SIDE: u32 = 8;
/// What comes before each line of points.
const NO_FILTER: u8 = 0;
const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The picture that belongs to `seed`: the same for the same one.
pub(super) fn picture(mut seed: Seed) -> Vec<u8> {
    let mut points = Vec::new();
    for _ in 0..SIDE {
        let colours = (0..SIDE).flat_map(|_| seed.next().to_le_bytes().into_iter().take(3));
        points.push(NO_FILTER);
        points.extend(colours);
    }
    let mut file = SIGNATURE.to_vec();
    let mut header = [SIDE.to_be_bytes(), SIDE.to_be_bytes()].concat();
    header.extend_from_slice(&[8, 2, 0, 0, 0]); // Eight bits each of red, green and blue.
    chunk(&mut file, b"IHDR", &header);
    chunk(&mut file, b"IDAT", &stored(&points));
    chunk(&mut file, b"IEND", &[]);
    file
}

fn chunk(file: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    file.extend_from_slice(&length(data).to_be_bytes());
    file.extend_from_slice(kind);
    file.extend_from_slice(data);
    file.extend_from_slice(&crc32fast::hash(&[kind, data].concat()).to_be_bytes());
}

/// zlib with one block that is not compressed (RFC 1950; RFC 1951, section 3.2.4).
fn stored(data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
    let mut stream = vec![0x78, 0x01, 0x01];
    stream.extend_from_slice(&length.to_le_bytes());
    stream.extend_from_slice(&(!length).to_le_bytes());
    stream.extend_from_slice(data);
    let (a, b) = data.iter().fold((1_u32, 0_u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    stream.extend_from_slice(&((b << 16) | a).to_be_bytes());
    stream
}

fn length(data: &[u8]) -> u32 {
    u32::try_from(data.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_picture_is_a_whole_png_whose_points_can_be_read() {
        let file = picture(Seed::of(b"x"));
        assert_eq!(file, picture(Seed::of(b"x")));
        assert_ne!(file, picture(Seed::of(b"y")));
        let mut rest = file.strip_prefix(SIGNATURE).unwrap();
        let mut kinds = Vec::new();
        let mut points = Vec::new();
        while !rest.is_empty() {
            let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
            let (body, crc) = (&rest[4..8 + length], &rest[8 + length..12 + length]);
            assert_eq!(crc32fast::hash(body).to_be_bytes(), crc);
            kinds.push(String::from_utf8_lossy(&body[..4]).into_owned());
            if kinds.last().unwrap() == "IDAT" {
                flate2::read::ZlibDecoder::new(&body[4..]).read_to_end(&mut points).unwrap();
            }
            rest = &rest[12 + length..];
        }
        assert_eq!(kinds, ["IHDR", "IDAT", "IEND"]);
        assert_eq!(points.len() as u32, SIDE * (1 + 3 * SIDE));
    }
}
