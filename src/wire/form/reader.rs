//! Goes through a form piece by piece, wherever it is cut, and notes what decides about the call.
//!
//! Must not hold content: a value that decides something is kept to its bound, everything else is passed over. The time is
//! linear in the bytes: a boundary line begins with a carriage return and has no other, so after a mismatch nothing that was
//! passed can begin a boundary.

use std::ops::Range;

use super::boundary::Boundary;
use super::head::{self, PartHead};
use super::{FormHead, NEWER_IMAGE_PARTS};
use crate::wire::model_name;
use crate::wire::peek::{BodyFault, FaultCode, KeyRule, Rules, mistaken_for, shown};

/// The longest head of a part, in bytes, its empty line included.
const LONGEST_HEAD: usize = 8 * 1024;
/// The most parts of a form.
const MOST_PARTS: u32 = 1_000;
/// The longest value that is kept, in bytes, of a part that is neither `model` nor `prompt`.
const LONGEST_WORD: usize = 64;
/// The largest `n`: as in JSON.
const LARGEST_NUMBER: u64 = 1 << 53;

/// The carriage return and line feed that begin a delimiter.
const LINE_END: usize = 2;

/// Parts that decide about a call: each stands at most once, and a look-alike of one is refused.
const POLICY_PARTS: [&str; 5] = ["model", "stream", "n", "response_format", "prompt"];

/// Reads a form as it passes.
#[derive(Clone, Debug)]
pub struct Reader {
    /// CR LF, two dashes, the boundary.
    delimiter: Box<[u8]>,
    rules: Rules,
    /// Bytes read.
    at: u64,
    state: State,
    parts: u32,
    /// A bit for each of [`POLICY_PARTS`] that has come.
    seen: u8,
    found: FormHead,
    fault: Option<BodyFault>,
}

#[derive(Clone, Debug)]
enum State {
    /// Inside of a delimiter at the form's very beginning, or of its two dashes: so many of its bytes have come.
    Start(usize),
    /// Behind a delimiter, where CR LF or two dashes must stand: the first of the two.
    Behind(Option<u8>),
    /// In a part's head, which began at this byte.
    Head(Vec<u8>, u64),
    /// In a part's content.
    Content(Content),
    /// Behind the closing boundary; so many bytes of a last line's end.
    Closed(usize),
}

#[derive(Clone, Debug)]
struct Content {
    value: Value,
    /// The content's first byte.
    from: u64,
    /// Bytes of a delimiter that the last bytes are; see `phantom`.
    matched: usize,
    /// How many of them are none of the content: the line's end before it, which is the head's own.
    phantom: usize,
}

/// What becomes of a part's content.
#[derive(Clone, Debug)]
enum Value {
    File,
    Passed,
    Prompt,
    Kept { index: usize, bytes: Vec<u8> },
}

impl Reader {
    /// At a form's first byte.
    #[must_use]
    pub fn new(boundary: &Boundary, rules: Rules) -> Self {
        Reader {
            delimiter: [b"\r\n--", boundary.as_bytes()].concat().into(),
            rules,
            at: 0,
            state: State::Start(LINE_END),
            parts: 0,
            seen: 0,
            found: FormHead::default(),
            fault: None,
        }
    }

    /// What was found so far.
    #[must_use]
    pub fn head(&self) -> &FormHead {
        &self.found
    }

    /// Whether a file's part has begun and not ended.
    #[must_use]
    pub fn is_in_file(&self) -> bool {
        matches!(&self.state, State::Content(Content { value: Value::File, .. }))
    }

    /// Reads on.
    ///
    /// # Errors
    /// The first fault; and the same again ever after.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), BodyFault> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.step(rest) {
                Ok(read) => {
                    self.at = self.at.saturating_add(read as u64);
                    rest = &rest[read..];
                }
                Err(fault) => {
                    self.fault = Some(fault.clone());
                    return Err(fault);
                }
            }
        }
        Ok(())
    }

    /// That was all.
    ///
    /// # Errors
    /// An earlier fault, or that the form is not whole.
    pub fn finish(&self) -> Result<(), BodyFault> {
        match (&self.fault, &self.state) {
            (Some(fault), _) => Err(fault.clone()),
            (None, State::Closed(0 | LINE_END)) => Ok(()),
            _ => Err(self.wrong("ends before its closing boundary", "Send it whole.")),
        }
    }

    /// Reads some bytes, at least one: how many.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, BodyFault> {
        match &mut self.state {
            State::Content(_) => self.content(bytes),
            State::Head(..) => self.head_bytes(bytes),
            _ => self.line(bytes[0]).map(|()| 1),
        }
    }

    /// A byte of a boundary's line.
    fn line(&mut self, byte: u8) -> Result<(), BodyFault> {
        let next = match self.state {
            State::Start(matched) if self.delimiter[matched] == byte => match matched + 1 {
                all if all == self.delimiter.len() => State::Behind(None),
                more => State::Start(more),
            },
            State::Start(_) => return Err(self.wrong("does not begin with its boundary", "Begin with it.")),
            State::Behind(None) if matches!(byte, b'\r' | b'-') => State::Behind(Some(byte)),
            State::Behind(Some(b'\r')) if byte == b'\n' => self.next_part()?,
            State::Behind(Some(b'-')) if byte == b'-' => {
                self.found.ended = true;
                State::Closed(0)
            }
            State::Behind(_) => {
                let why = "has something between a boundary and the end of its line";
                return Err(self.wrong(why, "End it there, and choose a boundary that is in no part."));
            }
            State::Closed(0) if byte == b'\r' => State::Closed(1),
            State::Closed(1) if byte == b'\n' => State::Closed(LINE_END),
            _ => return Err(self.wrong("goes on after its closing boundary", "End it there.")),
        };
        self.state = next;
        Ok(())
    }

    fn next_part(&mut self) -> Result<State, BodyFault> {
        self.parts += 1;
        if self.parts > MOST_PARTS {
            return Err(self.wrong("has more than 1000 parts", "Send fewer."));
        }
        Ok(State::Head(Vec::new(), self.at + 1))
    }

    /// Bytes of a part's head, to its empty line at most.
    fn head_bytes(&mut self, bytes: &[u8]) -> Result<usize, BodyFault> {
        let State::Head(head, began) = &mut self.state else { return Ok(0) };
        for (index, &byte) in bytes.iter().enumerate() {
            head.push(byte);
            if head.ends_with(b"\r\n\r\n") || head == b"\r\n" {
                let (read, began) = (head::read(head, *began)?, *began);
                let value = self.begin(&read, began)?;
                let from = self.at.saturating_add(index as u64 + 1);
                self.state = State::Content(Content { value, from, matched: LINE_END, phantom: LINE_END });
                return Ok(index + 1);
            }
            if head.len() >= LONGEST_HEAD {
                let began = *began;
                let message = format!(
                    "The head of the form's part at byte {began} is longer than {LONGEST_HEAD} bytes. Send a shorter file name, and fewer headers."
                );
                return Err(BodyFault::new(FaultCode::InvalidForm, message));
            }
        }
        Ok(bytes.len())
    }

    /// A part begins: what becomes of its content. Refuses one that decides something and is not what it must be.
    fn begin(&mut self, part: &PartHead, at: u64) -> Result<Value, BodyFault> {
        let name = part.name.as_str();
        if NEWER_IMAGE_PARTS.contains(&name) {
            self.found.newer_image_parts = true;
        }
        let Some(index) = POLICY_PARTS.iter().position(|known| *known == name) else {
            self.refuse_look_alike(name, at)?;
            if part.file {
                self.found.files = self.found.files.saturating_add(1);
                return Ok(Value::File);
            }
            return Ok(Value::Passed);
        };
        if self.seen & 1 << index != 0 {
            let message = format!("The form has '{name}' twice (again at byte {at}). Send it once.");
            return Err(BodyFault::new(FaultCode::DuplicateKey, message).about(name));
        }
        self.seen |= 1 << index;
        if part.file || part.typed {
            return Err(BodyFault::value(name, place(at), "a plain text field, without a file name or another type"));
        }
        Ok(if name == "prompt" { Value::Prompt } else { Value::Kept { index, bytes: Vec::new() } })
    }

    /// J4, for parts; and `model[]`, which readers that know lists take for `model`. `_charset_` would change how all other
    /// parts are read (RFC 7578 4.6).
    fn refuse_look_alike(&self, name: &str, at: u64) -> Result<(), BodyFault> {
        if self.rules.keys == KeyRule::Lenient {
            return Ok(());
        }
        let single = name.split('[').next().unwrap_or(name);
        let known = POLICY_PARTS.iter().find(|known| **known == single).copied();
        let meant = known.or_else(|| mistaken_for(single.chars(), &POLICY_PARTS));
        let meant = meant.or_else(|| (name == "_charset_").then_some("a character set for all parts"));
        let Some(meant) = meant else { return Ok(()) };
        let name = shown(name.chars());
        let message = format!(
            "The form's part '{name}' (byte {at}) could be taken for '{meant}'. Spell it exactly so, or leave it out."
        );
        Err(BodyFault::new(FaultCode::AmbiguousKey, message).about(name))
    }

    /// Bytes of a part's content, to its delimiter at most.
    fn content(&mut self, bytes: &[u8]) -> Result<usize, BodyFault> {
        let State::Content(content) = &mut self.state else { return Ok(0) };
        let mut read = 0;
        while let Some(&byte) = bytes.get(read) {
            if content.matched == 0 {
                let end = memchr::memchr(b'\r', &bytes[read..]).map_or(bytes.len(), |found| read + found);
                content.value.take(&bytes[read..end], &mut self.found)?;
                read = end;
                if end < bytes.len() {
                    content.matched = 1;
                    read += 1;
                }
                continue;
            }
            if self.delimiter[content.matched] != byte {
                let passed = &self.delimiter[content.phantom..content.matched];
                content.value.take(passed, &mut self.found)?;
                (content.matched, content.phantom) = (0, 0);
                continue;
            }
            content.matched += 1;
            read += 1;
            if content.matched == self.delimiter.len() {
                if content.phantom > 0 {
                    return Err(self.wrong("has a part without content, not even an empty line", "Leave it out."));
                }
                let end = self.at.saturating_add(read as u64).saturating_sub(self.delimiter.len() as u64);
                let (value, span) = (std::mem::replace(&mut content.value, Value::Passed), content.from..end);
                self.state = State::Behind(None);
                self.end(value, span)?;
                return Ok(read);
            }
        }
        Ok(read)
    }

    /// A part has ended: takes its value for what it must be.
    fn end(&mut self, value: Value, span: Range<u64>) -> Result<(), BodyFault> {
        let Value::Kept { index, bytes } = value else { return Ok(()) };
        let (name, at) = (POLICY_PARTS[index], place(span.start));
        let text = String::from_utf8(bytes).map_err(|_| {
            let message = format!("The form's part '{name}' (byte {at}) is not valid UTF-8. Send it as UTF-8.");
            BodyFault::new(FaultCode::InvalidEncoding, message).about(name)
        })?;
        match name {
            "model" => {
                if let Some(fault) = model_name::fault(&text) {
                    let message = format!("The model name '{}' {fault} (byte {at}).", shown(text.chars()));
                    return Err(BodyFault::new(FaultCode::InvalidValue, message).about(name));
                }
                self.found.model = Some(text);
                self.found.model_span = Some(span);
            }
            "stream" => {
                self.found.stream = match text.as_str() {
                    "true" => true,
                    "false" => false,
                    _ => return Err(BodyFault::value(name, at, "true or false")),
                };
            }
            "n" => {
                let number = Some(&text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
                let number = number.and_then(|text| text.parse().ok()).filter(|number| *number <= LARGEST_NUMBER);
                let number: u64 = number.ok_or_else(|| BodyFault::value(name, at, "a whole number"))?;
                self.found.choices = Some(number).filter(|number| *number > 0);
            }
            _ => self.found.response_format = Some(text),
        }
        Ok(())
    }

    fn wrong(&self, why: &str, advice: &str) -> BodyFault {
        let message = format!("The form {why}. {advice}");
        BodyFault::new(FaultCode::InvalidForm, message)
    }
}

impl Value {
    /// More of the content.
    fn take(&mut self, more: &[u8], found: &mut FormHead) -> Result<(), BodyFault> {
        match self {
            Value::File | Value::Passed => {}
            Value::Prompt => found.prompt_bytes = found.prompt_bytes.saturating_add(more.len() as u64),
            Value::Kept { index, bytes } => {
                let name = POLICY_PARTS[*index];
                let most = if name == "model" { model_name::LONGEST } else { LONGEST_WORD };
                if bytes.len() + more.len() > most {
                    let message = format!("The form's part '{name}' is longer than {most} bytes. Send a shorter one.");
                    return Err(BodyFault::new(FaultCode::InvalidValue, message).about(name));
                }
                bytes.extend_from_slice(more);
            }
        }
        Ok(())
    }
}

/// A place in a form, for a message.
fn place(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}
