//! Reads what a report needs out of one line: members of the top level, without building or copying anything.
//!
//! Must not know what is added up. Any JSON object is read, whatever its order and its other members.

use std::borrow::Cow;

use crate::usage::money::Usd;

/// A usage record, as far as it is added up.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// When the call began; begins with a day.
    pub(super) time: Cow<'a, str>,
    pub(super) tenant: Cow<'a, str>,
    pub(super) outcome: Cow<'a, str>,
    pub(super) model: Option<Cow<'a, str>>,
    pub(super) key: Option<Cow<'a, str>>,
    pub(super) route: Option<Cow<'a, str>>,
    pub(super) upstream: Option<Cow<'a, str>>,
    pub(super) endpoint: Option<Cow<'a, str>>,
    pub(super) tag: Option<Cow<'a, str>>,
    pub(super) source: Option<Cow<'a, str>>,
    pub(super) input: u64,
    pub(super) cached: u64,
    pub(super) output: u64,
    pub(super) reasoning: u64,
    pub(super) cost: Option<Usd>,
}

/// A value, where it stands.
#[derive(Clone, Copy)]
enum Value<'a> {
    /// What stands between the quotes, and whether there is an escape in it.
    Text(&'a [u8], bool),
    Number(&'a [u8]),
    Null,
    /// True, false, a list, an object.
    Other,
}

/// Reads a line.
///
/// # Errors
/// What is wrong with it, in words that fit after "line 5: ".
pub(super) fn read(line: &[u8]) -> Result<Line<'_>, &'static str> {
    const BROKEN: &str = "not a whole JSON object";
    let mut rest = Rest(line);
    let mut read = Line::default();
    rest.expect(b'{').ok_or(BROKEN)?;
    if rest.next() == Some(b'}') {
        return Err("no `time`");
    }
    loop {
        let (key, _) = rest.string().ok_or(BROKEN)?;
        rest.expect(b':').ok_or(BROKEN)?;
        let value = rest.value().ok_or(BROKEN)?;
        read.enter(key, value)?;
        match rest.next() {
            Some(b',') => rest.bump(),
            Some(b'}') => break,
            _ => return Err(BROKEN),
        }
    }
    rest.bump();
    if rest.next().is_some() {
        return Err("more than one JSON object");
    }
    read.checked()
}

/// Whether a text begins with a day, `2026-11-05`.
pub(super) fn is_day(text: &[u8]) -> bool {
    text.get(..10).is_some_and(|day| {
        day.iter().enumerate().all(|(at, byte)| if at == 4 || at == 7 { *byte == b'-' } else { byte.is_ascii_digit() })
    })
}

impl<'a> Line<'a> {
    fn enter(&mut self, key: &[u8], value: Value<'a>) -> Result<(), &'static str> {
        match key {
            b"time" => self.time = text(value)?.unwrap_or_default(),
            b"tenant" => self.tenant = text(value)?.unwrap_or_default(),
            b"outcome" => self.outcome = text(value)?.unwrap_or_default(),
            b"model" => self.model = text(value)?,
            b"key" => self.key = text(value)?,
            b"route" => self.route = text(value)?,
            b"upstream" => self.upstream = text(value)?,
            b"endpoint" => self.endpoint = text(value)?,
            b"tag" => self.tag = text(value)?,
            b"usage_source" => self.source = text(value)?,
            b"input_tokens" => self.input = number(value)?,
            b"cached_tokens" => self.cached = number(value)?,
            b"output_tokens" => self.output = number(value)?,
            b"reasoning_tokens" => self.reasoning = number(value)?,
            b"cost_usd" => self.cost = money(value)?,
            _ => {}
        }
        Ok(())
    }

    fn checked(self) -> Result<Self, &'static str> {
        if !is_day(self.time.as_bytes()) {
            return Err("no `time`");
        }
        if self.tenant.is_empty() {
            return Err("no `tenant`");
        }
        if self.outcome.is_empty() { Err("no `outcome`") } else { Ok(self) }
    }
}

fn text(value: Value<'_>) -> Result<Option<Cow<'_, str>>, &'static str> {
    const WRONG: &str = "a name that is no text";
    match value {
        Value::Null => Ok(None),
        Value::Text(raw, false) => std::str::from_utf8(raw).map(|text| Some(Cow::Borrowed(text))).map_err(|_| WRONG),
        Value::Text(raw, true) => {
            let quoted = [b"\"", raw, b"\""].concat();
            serde_json::from_slice(&quoted).map(|text: String| Some(Cow::Owned(text))).map_err(|_| WRONG)
        }
        Value::Number(_) | Value::Other => Err(WRONG),
    }
}

fn number(value: Value<'_>) -> Result<u64, &'static str> {
    const WRONG: &str = "a number of tokens that is none";
    match value {
        Value::Null => Ok(0),
        Value::Number(digits) if digits.len() <= 19 && digits.iter().all(u8::is_ascii_digit) => {
            Ok(digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
        }
        _ => Err(WRONG),
    }
}

fn money(value: Value<'_>) -> Result<Option<Usd>, &'static str> {
    const WRONG: &str = "a `cost_usd` that cannot be added up exactly";
    match value {
        Value::Null => Ok(None),
        Value::Number(digits) => {
            let usd = std::str::from_utf8(digits).ok().and_then(Usd::parse);
            usd.map(Some).ok_or(WRONG)
        }
        Value::Text(..) | Value::Other => Err(WRONG),
    }
}

/// What is left of a line. Everything here gives `None` where the line is no JSON.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// The next byte that is no white space, which is passed.
    fn next(&mut self) -> Option<u8> {
        let blank = self.0.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r')).count();
        self.take(blank);
        self.0.first().copied()
    }

    fn bump(&mut self) {
        self.take(1);
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then(|| self.bump())
    }

    /// What stands between the quotes, and whether there is an escape in it.
    fn string(&mut self) -> Option<(&'a [u8], bool)> {
        self.expect(b'"')?;
        let (mut at, mut escaped) = (0, false);
        loop {
            at += memchr::memchr2(b'"', b'\\', self.0.get(at..)?)?;
            if self.0.get(at) == Some(&b'"') {
                break;
            }
            escaped = true;
            at += 2;
        }
        let raw = self.take(at);
        self.bump();
        Some((raw, escaped))
    }

    fn value(&mut self) -> Option<Value<'a>> {
        match self.next()? {
            b'"' => self.string().map(|(raw, escaped)| Value::Text(raw, escaped)),
            b'-' | b'0'..=b'9' => {
                let in_number = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                let length = self.0.iter().take_while(in_number).count();
                Some(Value::Number(self.take(length)))
            }
            b'n' => self.literal(b"null", Value::Null),
            b't' => self.literal(b"true", Value::Other),
            b'f' => self.literal(b"false", Value::Other),
            b'{' | b'[' => {
                let mut values = serde_json::Deserializer::from_slice(self.0).into_iter::<serde::de::IgnoredAny>();
                values.next()?.ok()?;
                let length = values.byte_offset();
                self.take(length);
                Some(Value::Other)
            }
            _ => None,
        }
    }

    fn literal(&mut self, word: &[u8], value: Value<'a>) -> Option<Value<'a>> {
        (self.take(word.len()) == word).then_some(value)
    }
}
