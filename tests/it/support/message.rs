//! Reads heads of HTTP/1.1 messages as they stand on the wire, and takes bodies out of their framing.
//!
//! Must not correct anything: what is not as expected fails the test.

use super::position;

/// The head of a request or an answer.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// All of it, with the empty line.
    pub(crate) raw: Vec<u8>,
    /// The first line.
    pub(crate) start: String,
    /// Names in lower case, values as they came, in their order.
    pub(crate) headers: Vec<(String, String)>,
}

impl Head {
    /// The head that `bytes` begins with, if it is whole.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Head> {
        let end = position(bytes, b"\r\n\r\n")? + 4;
        let text: String = bytes[..end].iter().map(|&byte| char::from(byte)).collect();
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("a header without a colon: {line:?}"));
            (name.to_ascii_lowercase(), value.trim().to_owned())
        });
        Some(Head { raw: bytes[..end].to_vec(), headers: headers.collect(), start })
    }

    /// The only value of a header.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.all(name).into_iter();
        let value = values.next();
        assert!(values.next().is_none(), "{name} stands twice in {}", String::from_utf8_lossy(&self.raw));
        value
    }

    /// All values of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let found = self.headers.iter().filter(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str()).collect()
    }

    /// All names, sorted, each once.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The length that the message states.
    pub(crate) fn content_length(&self) -> Option<usize> {
        self.get("content-length").map(|value| value.parse().unwrap())
    }

    /// Whether the body comes in chunks.
    pub(crate) fn is_chunked(&self) -> bool {
        self.get("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
    }

    /// The status of an answer.
    pub(crate) fn status(&self) -> u16 {
        self.start.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("{:?}", self.start))
    }
}

/// What stands in a chunked body, as far as it came.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    /// The data of all chunks, the last one as far as it came.
    pub(crate) data: Vec<u8>,
    /// How many bytes the whole body took on the wire; `None` while its last chunk has not come.
    pub(crate) end: Option<usize>,
}

impl Chunks {
    /// Reads `bytes` from the body's beginning.
    pub(crate) fn parse(bytes: &[u8]) -> Chunks {
        let mut chunks = Chunks::default();
        let mut at = 0;
        while let Some(line) = position(&bytes[at..], b"\r\n") {
            let size = std::str::from_utf8(&bytes[at..at + line]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("not a chunk's size: {size:?}"));
            let from = at + line + 2;
            if size == 0 {
                chunks.end = bytes[from..].starts_with(b"\r\n").then_some(from + 2);
                return chunks;
            }
            chunks.data.extend_from_slice(&bytes[from..bytes.len().min(from + size)]);
            at = from + size + 2;
            if at > bytes.len() {
                return chunks;
            }
        }
        chunks
    }
}
