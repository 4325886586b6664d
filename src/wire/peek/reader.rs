//! Goes over the members of a body's root object and takes each parameter that decides something for what it must be.
//!
//! Must not know what is decided. Everything else in the body is passed over by `value`.

use std::ops::Range;

use crate::wire::endpoint::Endpoint;
use crate::wire::model_name;

use super::cursor::Cursor;
use super::fault::{BodyFault, FaultCode, shown};
use super::field::{Field, NEWER_IMAGE_KEYS, POLICY_KEYS};
use super::keys::{Key, Seen, Unescaped, mistaken_for};
use super::value::{Scope, Tally, literal, pass};
use super::{Cap, Caps, KeyRule, Peek, Rules, State, StreamOptions};

/// The largest policy number: 2^53, as far as every JSON reader counts exactly (RFC 8259 6).
const LARGEST_NUMBER: u64 = 1 << 53;

/// What has been read so far.
pub(super) struct Reader<'a> {
    cursor: Cursor<'a>,
    endpoint: Endpoint,
    tally: Tally,
    object_start: usize,
    /// The name, or null, and where it stands.
    model: Option<(Option<String>, Range<usize>)>,
    stream: Option<(bool, Range<usize>)>,
    stream_options: StreamOptions,
    caps: Caps,
    choices: u64,
    choices_key: &'static str,
    service_tier: Option<Box<str>>,
    prompts: u64,
    state: State,
    /// Whether speech is asked for as events.
    events: bool,
    empty: bool,
    newer_image_keys: bool,
}

impl<'a> Reader<'a> {
    /// Inside the root object.
    pub(super) fn new(endpoint: Endpoint, cursor: Cursor<'a>) -> Self {
        Reader {
            object_start: cursor.at(),
            cursor,
            endpoint,
            tally: Tally::default(),
            model: None,
            stream: None,
            stream_options: StreamOptions::Absent,
            caps: Caps::default(),
            choices: 1,
            choices_key: "n",
            service_tier: None,
            prompts: 1,
            state: State::default(),
            events: false,
            empty: false,
            newer_image_keys: false,
        }
    }

    /// All members of the root, and its closing bracket.
    pub(super) fn members(&mut self, rules: Rules) -> Result<(), BodyFault> {
        let mut seen = Seen::default();
        if self.cursor.next_token() == Some(b'}') {
            self.cursor.bump();
            self.empty = true;
            return Ok(());
        }
        loop {
            let key = self.cursor.key()?;
            seen.note(key, "")?;
            refuse_look_alike(&key, &POLICY_KEYS, "", rules)?;
            self.newer_image_keys |= self.endpoint.makes_images() && NEWER_IMAGE_KEYS.contains(&&*key.name());
            match Field::of(&key.name(), self.endpoint) {
                Field::Counted(scope) => pass(&mut self.cursor, scope, 1, &mut self.tally)?,
                field => self.policy(&field, rules)?,
            }
            if self.ends_object()? {
                return Ok(());
            }
        }
    }

    /// After a member: goes past the comma (`false`) or the closing bracket (`true`).
    fn ends_object(&mut self) -> Result<bool, BodyFault> {
        let ends = match self.cursor.next_token() {
            Some(b',') => false,
            Some(b'}') => true,
            _ => return Err(self.cursor.unexpected("a comma or '}'")),
        };
        self.cursor.bump();
        Ok(ends)
    }

    /// The value of a key that decides something.
    fn policy(&mut self, field: &Field, rules: Rules) -> Result<(), BodyFault> {
        match field {
            Field::Model => self.model = Some(self.read_model()?),
            Field::Stream => {
                let (stream, span) = self.flag("stream")?;
                self.stream = Some((stream.unwrap_or(false), span));
            }
            Field::StreamOptions => self.stream_options = self.read_stream_options(rules)?,
            Field::Choices(name) => {
                let (number, _) = self.number(name)?;
                let choices = number.unwrap_or(1);
                if choices > self.choices || choices == self.choices && *name == "n" {
                    self.choices = choices;
                    self.choices_key = name;
                }
            }
            Field::MaxTokens => self.caps.max_tokens = Some(self.cap("max_tokens")?),
            Field::MaxCompletionTokens => self.caps.max_completion_tokens = Some(self.cap("max_completion_tokens")?),
            Field::MaxOutputTokens => self.caps.max_output_tokens = Some(self.cap("max_output_tokens")?),
            Field::Prompts => self.prompts = self.read_prompts()?.max(1),
            Field::Store => {
                self.state.store = match self.silent()? {
                    Some(b't') => Some(true),
                    Some(b'f') => Some(false),
                    _ => None,
                };
            }
            Field::PreviousResponseId => self.state.previous_response_id = self.silent()? != Some(b'n'),
            Field::Conversation => self.state.conversation = self.silent()? != Some(b'n'),
            Field::ServiceTier => self.service_tier = self.read_service_tier()?,
            Field::Background => self.state.background = !matches!(self.silent()?, Some(b'n' | b'f')),
            Field::StreamFormat => self.events = self.stream_format()?,
            Field::Counted(scope) => pass(&mut self.cursor, *scope, 1, &mut self.tally)?,
        }
        Ok(())
    }

    /// Goes past a value that does not count; its first byte.
    fn silent(&mut self) -> Result<Option<u8>, BodyFault> {
        let first = self.cursor.next_token();
        pass(&mut self.cursor, Scope::Silent, 1, &mut self.tally)?;
        Ok(first)
    }

    /// Goes past a value that is not what `param` must be, so that a fault of its JSON is told first.
    fn mistyped(&mut self, param: &str, must: &str) -> BodyFault {
        let _ = self.cursor.next_token();
        let at = self.cursor.at();
        self.silent().err().unwrap_or_else(|| BodyFault::value(param, at, must))
    }

    /// Whether the value of `stream_format` asks for events.
    fn stream_format(&mut self) -> Result<bool, BodyFault> {
        match self.cursor.next_token() {
            Some(b'"') => {
                let text = self.cursor.string()?;
                let raw = std::str::from_utf8(text.raw).unwrap_or_default();
                Ok(Unescaped::new(raw).eq("sse".chars()))
            }
            Some(b'n') => self.cursor.literal("null").map(|()| false),
            _ => Err(self.mistyped("stream_format", "a string")),
        }
    }

    fn read_model(&mut self) -> Result<(Option<String>, Range<usize>), BodyFault> {
        let first = self.cursor.next_token();
        let start = self.cursor.at();
        if first == Some(b'n') {
            self.cursor.literal("null")?;
            return Ok((None, start..self.cursor.at()));
        }
        if first != Some(b'"') {
            return Err(self.mistyped("model", "a string"));
        }
        let text = self.cursor.string()?;
        if let Some(at) = text.lone {
            return Err(BodyFault::value("model", at, "whole characters; half a surrogate pair is none"));
        }
        // Bounded before it is copied.
        if text.decoded > model_name::LONGEST {
            return Err(BodyFault::value("model", start, "at most 256 bytes long"));
        }
        let raw = std::str::from_utf8(text.raw).map_err(|e| BodyFault::encoding(start + 1 + e.valid_up_to()))?;
        let name: String = if text.escaped() { Unescaped::new(raw).collect() } else { raw.to_owned() };
        if let Some(fault) = model_name::fault(&name) {
            let message = format!("The model name '{}' {fault} (byte {start}).", shown(name.chars()));
            return Err(BodyFault::new(FaultCode::InvalidValue, message).about("model"));
        }
        Ok((Some(name), start..self.cursor.at()))
    }

    /// The name of a tier, or null for `None`. Which names there are is the upstream's business, so any short one is read.
    fn read_service_tier(&mut self) -> Result<Option<Box<str>>, BodyFault> {
        const LONGEST: usize = 64;
        const MUST: &str = "a string of at most 64 bytes, or null";
        let first = self.cursor.next_token();
        let start = self.cursor.at();
        if first == Some(b'n') {
            self.cursor.literal("null")?;
            return Ok(None);
        }
        if first != Some(b'"') {
            return Err(self.mistyped("service_tier", MUST));
        }
        let text = self.cursor.string()?;
        if text.decoded > LONGEST {
            return Err(BodyFault::value("service_tier", start, MUST));
        }
        let raw = std::str::from_utf8(text.raw).map_err(|e| BodyFault::encoding(start + 1 + e.valid_up_to()))?;
        Ok(Some(if text.escaped() { Unescaped::new(raw).collect() } else { raw.into() }))
    }

    /// True, false, or null for `None`.
    fn flag(&mut self, param: &str) -> Result<(Option<bool>, Range<usize>), BodyFault> {
        let first = self.cursor.next_token();
        let start = self.cursor.at();
        let flag = match first {
            Some(b't') => Some(true),
            Some(b'f') => Some(false),
            Some(b'n') => None,
            _ => return Err(self.mistyped(param, "true or false")),
        };
        literal(&mut self.cursor)?;
        Ok((flag, start..self.cursor.at()))
    }

    /// A whole number from 1 to 2^53; 0, −1 and null give `None`.
    fn number(&mut self, param: &str) -> Result<(Option<u64>, Range<usize>), BodyFault> {
        const MUST: &str = "a whole number from 1 to 9007199254740992, written without fraction and exponent (0, -1 and null mean none)";
        let first = self.cursor.next_token();
        let start = self.cursor.at();
        if first == Some(b'n') {
            self.cursor.literal("null")?;
            return Ok((None, start..self.cursor.at()));
        }
        if !matches!(first, Some(b'-' | b'0'..=b'9')) {
            return Err(self.mistyped(param, MUST));
        }
        let number = self.cursor.number()?;
        let digits = std::str::from_utf8(number.raw).unwrap_or_default();
        let parsed = match digits {
            _ if !number.integer => None,
            "-1" => Some(0),
            // 17 digits and more are beyond 2^53; a megabyte of them is not worth converting.
            long if long.len() > 16 => None,
            digits => digits.parse().ok().filter(|&value: &u64| value <= LARGEST_NUMBER),
        };
        let value = parsed.ok_or_else(|| BodyFault::value(param, start, MUST))?;
        Ok(((value > 0).then_some(value), start..self.cursor.at()))
    }

    fn cap(&mut self, param: &str) -> Result<Cap, BodyFault> {
        let (tokens, span) = self.number(param)?;
        Ok(Cap { tokens, span })
    }

    fn read_stream_options(&mut self, rules: Rules) -> Result<StreamOptions, BodyFault> {
        const MUST: &str = "an object or null";
        let first = self.cursor.next_token();
        let start = self.cursor.at();
        if first == Some(b'n') {
            self.cursor.literal("null")?;
            return Ok(StreamOptions::Null { span: start..self.cursor.at() });
        }
        if first != Some(b'{') {
            return Err(self.mistyped("stream_options", MUST));
        }
        self.cursor.bump();
        let insert_at = self.cursor.at();
        let mut include_usage = None;
        let empty = self.cursor.next_token() == Some(b'}');
        if empty {
            self.cursor.bump();
        } else {
            let mut seen = Seen::default();
            loop {
                let key = self.cursor.key()?;
                seen.note(key, "stream_options.")?;
                refuse_look_alike(&key, &["include_usage"], "stream_options.", rules)?;
                if key.name() == "include_usage" {
                    include_usage = Some(self.flag("stream_options.include_usage")?);
                } else {
                    pass(&mut self.cursor, Scope::Silent, 2, &mut self.tally)?;
                }
                if self.ends_object()? {
                    break;
                }
            }
        }
        Ok(StreamOptions::Object { span: start..self.cursor.at(), include_usage, empty, insert_at })
    }

    /// How many prompts the value here is: a string or an array of tokens is one, an array of those as many as it has.
    fn read_prompts(&mut self) -> Result<u64, BodyFault> {
        if self.cursor.next_token() != Some(b'[') {
            pass(&mut self.cursor, Scope::Prompt, 1, &mut self.tally)?;
            return Ok(1);
        }
        self.cursor.bump();
        if self.cursor.next_token() == Some(b']') {
            self.cursor.bump();
            return Ok(1);
        }
        let mut prompts = 0;
        let mut numbers = false;
        loop {
            match self.cursor.next_token() {
                Some(b'-' | b'0'..=b'9') => numbers = true,
                _ => prompts += 1,
            }
            pass(&mut self.cursor, Scope::Prompt, 2, &mut self.tally)?;
            match self.cursor.next_token() {
                Some(b',') => self.cursor.bump(),
                Some(b']') => break,
                _ => return Err(self.cursor.unexpected("a comma or ']'")),
            }
        }
        self.cursor.bump();
        Ok(prompts + u64::from(numbers))
    }

    /// What was read, if it is enough and nothing follows.
    pub(super) fn finish(mut self) -> Result<Peek, BodyFault> {
        if self.cursor.next_token().is_some() {
            return Err(self.cursor.unexpected("the end of the body"));
        }
        let default = self.endpoint.default_model().filter(|_| !self.newer_image_keys);
        let (model, model_span) = match (self.model, default) {
            (Some((Some(model), span)), _) => (model, Some(span)),
            (unnamed, Some(default)) => (default.to_owned(), unnamed.map(|(_, span)| span)),
            (_, None) => return Err(missing_model("the body")),
        };
        let caps = [&self.caps.max_tokens, &self.caps.max_completion_tokens, &self.caps.max_output_tokens];
        let output_cap = caps.into_iter().flatten().filter_map(|cap| cap.tokens).max();
        let stream = self.events || self.stream.as_ref().is_some_and(|(stream, _)| *stream);
        Ok(Peek {
            endpoint: self.endpoint,
            model,
            model_span,
            stream,
            stream_span: self.stream.map(|(_, span)| span),
            stream_options: self.stream_options,
            object_start: self.object_start,
            object_empty: self.empty,
            output_cap,
            caps: self.caps,
            choices: self.choices,
            choices_key: self.choices_key,
            service_tier: self.service_tier,
            prompts: self.prompts,
            text_bytes: self.tally.text_bytes,
            attachments: self.tally.attachments,
            attachment_bytes: self.tally.attachment_bytes,
            state: self.state,
        })
    }
}

/// No model is named in `place`.
pub(in crate::wire) fn missing_model(place: &str) -> BodyFault {
    let message = format!("You must provide a model parameter: {place} has no 'model'. Name the model to ask.");
    BodyFault::new(FaultCode::MissingRequiredParameter, message).about("model")
}

/// J4: a key that is not a known one, but that some upstream would take for it.
fn refuse_look_alike(key: &Key<'_>, known: &[&'static str], within: &str, rules: Rules) -> Result<(), BodyFault> {
    if rules.keys == KeyRule::Lenient || key.is_plain() {
        return Ok(());
    }
    let Some(meant) = mistaken_for(key.chars(), known) else { return Ok(()) };
    let name = format!("{within}{}", key.shown());
    let message = format!(
        "The key '{name}' (byte {}) could be taken for '{meant}'. Spell it exactly so, or leave it out.",
        key.at
    );
    Err(BodyFault::new(FaultCode::AmbiguousKey, message).about(name))
}
