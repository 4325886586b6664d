//! Says by its number alone what a call is: endpoint, prompt, answer, and how it ends. Client, upstream and auditor agree so.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::support::fixture;

/// The header that carries a call's number.
pub(super) const NUMBER: &str = "x-call";

/// Every model, which is a route of its own, and the upstream that it goes to.
pub(super) const MODELS: [(&str, &str); 8] = [
    ("english", "patient"),
    ("code", "patient"),
    ("russian", "patient"),
    ("hasty-english", "hasty"),
    ("hasty-code", "hasty"),
    ("hasty-russian", "hasty"),
    ("paced", "patient"),
    ("silent", "hastier"),
];
/// In [`MODELS`], the first of those whose upstream waits only so long between two pieces.
const HASTY: usize = 3;
/// In [`MODELS`], the one whose answers take their time.
const PACED: usize = 6;
/// In [`MODELS`], the one whose upstream waits only so long for the first piece.
const SILENT: usize = 7;

/// Calls on each model that end well, before all others: what the gateway learns from.
const LESSONS: u32 = 40;
pub(super) const WARM_UP: u32 = LESSONS * MODELS.len() as u32;

/// What an upstream writes in a second where it takes its time.
pub(super) const TOKENS_A_SECOND: u32 = 1_000;
const TOKENS_A_PIECE: usize = 4;

/// A few tokens of a text, and no letter in parts.
struct Piece {
    /// As a JSON string has it, without quotes.
    text: String,
    tokens: u64,
}

/// The texts, and the ledger.
pub(super) struct World {
    texts: Vec<Vec<Piece>>,
    ledger: Mutex<Vec<Option<Entry>>>,
    /// Clients that want to know when the upstream has their call.
    expected: Mutex<HashMap<u32, oneshot::Sender<()>>>,
}

/// What the upstream wrote down of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) input: u64,
    pub(super) output: u64,
    /// Whether it told the client.
    pub(super) told: bool,
}

/// Where an answer is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Chat,
    Completions,
    Responses,
    Embeddings,
}

/// How a call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ending {
    /// Well, with usage.
    Whole,
    /// Well, without usage.
    NoUsage,
    /// The upstream answers with an error.
    Status(u16),
    /// The upstream tells of an error in its stream.
    ErrorEvent,
    /// The upstream's answer breaks off.
    Cut,
    /// The client leaves while it reads.
    HangUp,
    /// The client leaves after it read the usage.
    HangUpAfterUsage,
    /// The client leaves before anything came.
    HangUpUnseen,
    /// The client leaves while it sends.
    HangUpSending,
    /// The upstream falls silent in its answer, until it is given up.
    Stall,
    /// The upstream never begins to answer, until it is given up.
    Silence,
    /// The model is unknown.
    NoModel,
}

/// A call.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) number: u32,
    pub(super) ending: Ending,
    pub(super) dialect: Dialect,
    pub(super) stream: bool,
    /// Whether the client asks for the usage of a stream.
    pub(super) asks_usage: bool,
    pub(super) model: usize,
    text: usize,
    prompt: std::ops::Range<usize>,
    answer: std::ops::Range<usize>,
    /// How many pieces of the answer are written before it ends in another way than well.
    pub(super) stop: usize,
}

/// A generator of numbers that are the same in each run (splitmix64).
struct Picks(u64);

impl Picks {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    /// A number from `least` to `most`.
    fn between(&mut self, least: usize, most: usize) -> usize {
        least + (self.next() % (most - least + 1) as u64) as usize
    }

    fn one_in(&mut self, number: usize) -> bool {
        self.between(1, number) == 1
    }

    fn range(&mut self, of: usize, least: usize, most: usize) -> std::ops::Range<usize> {
        let length = self.between(least, most);
        let from = self.between(0, of - length);
        from..from + length
    }
}

impl World {
    pub(super) fn new(calls: u32) -> World {
        let tokenizer = bpe_openai::o200k_base();
        let cut = |language: &str| {
            let text = String::from_utf8(fixture(&format!("texts/{language}.txt"))).unwrap();
            let (mut pieces, mut gathered) = (Vec::new(), Vec::new());
            for token in tokenizer.encode(&*text) {
                gathered.push(token);
                if gathered.len() < TOKENS_A_PIECE {
                    continue;
                }
                // A letter may be made of several tokens: then more of them go into one piece.
                if let Some(text) = tokenizer.decode(&gathered) {
                    let quoted = serde_json::to_string(&text).unwrap();
                    let text = quoted[1..quoted.len() - 1].to_owned();
                    pieces.push(Piece { text, tokens: gathered.len() as u64 });
                    gathered.clear();
                }
            }
            pieces
        };
        World {
            texts: ["english", "code", "russian"].map(cut).into(),
            ledger: Mutex::new(vec![None; calls as usize]),
            expected: Mutex::default(),
        }
    }

    /// Writes down what the upstream did for a call. It is asked for each call once.
    pub(super) fn enter(&self, number: u32, entry: Entry) {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let place = &mut ledger[number as usize];
        assert_eq!(*place, None, "call {number} came to the upstream twice");
        *place = Some(entry);
    }

    /// Tells when a call came to the upstream.
    pub(super) fn expect(&self, number: u32) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.expected.lock().unwrap_or_else(PoisonError::into_inner).insert(number, sender);
        receiver
    }

    /// A call came to the upstream.
    pub(super) fn came(&self, number: u32) {
        if let Some(waiting) = self.expected.lock().unwrap_or_else(PoisonError::into_inner).remove(&number) {
            let _ = waiting.send(());
        }
    }

    pub(super) fn entry(&self, number: u32) -> Option<Entry> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)[number as usize]
    }
}

impl Plan {
    pub(super) fn of(world: &World, number: u32) -> Plan {
        let mut picks = Picks(u64::from(number) << 20 | 0x7011);
        let lesson = number < WARM_UP;
        let ending = if lesson { Ending::Whole } else { ending(&mut picks) };
        let model = match ending {
            _ if lesson => number as usize % MODELS.len(),
            Ending::HangUpUnseen => PACED,
            Ending::Silence => SILENT,
            Ending::Stall => picks.between(HASTY, HASTY + 2),
            Ending::Whole | Ending::Cut | Ending::HangUp if picks.one_in(25) => PACED,
            _ => picks.between(0, 2),
        };
        let timed = model >= PACED;
        let dialect = match picks.between(0, 9) {
            8 if matches!(ending, Ending::Whole | Ending::HangUp | Ending::Cut) && !timed => Dialect::Completions,
            9 if matches!(ending, Ending::Whole | Ending::NoUsage | Ending::Status(_)) && !timed && !lesson => {
                Dialect::Embeddings
            }
            5..=7 if ending != Ending::HangUpAfterUsage => Dialect::Responses,
            _ => Dialect::Chat,
        };
        let stream = match ending {
            _ if timed || dialect == Dialect::Embeddings => false,
            Ending::Whole | Ending::NoUsage | Ending::Status(_) => !picks.one_in(3),
            _ => true,
        };
        let text = if timed { picks.between(0, 2) } else { model % HASTY };
        let of = world.texts[text].len();
        let answer = if timed { picks.range(of, 5, 20) } else { picks.range(of, 10, 60) };
        Plan {
            number,
            ending,
            dialect,
            stream,
            asks_usage: ending == Ending::HangUpAfterUsage || picks.one_in(2),
            model,
            text,
            prompt: picks.range(of, 10, 60),
            stop: picks.between(1, answer.len()),
            answer,
        }
    }

    /// Whether its upstream takes its time, and shows nothing before it has all.
    pub(super) fn paced(&self) -> bool {
        self.model >= PACED
    }

    pub(super) fn path(&self) -> &'static str {
        match self.dialect {
            Dialect::Chat => "/v1/chat/completions",
            Dialect::Completions => "/v1/completions",
            Dialect::Responses => "/v1/responses",
            Dialect::Embeddings => "/v1/embeddings",
        }
    }

    /// The prompt as the body has it, without quotes.
    pub(super) fn prompt(&self, world: &World) -> String {
        world.texts[self.text][self.prompt.clone()].iter().map(|piece| &*piece.text).collect()
    }

    pub(super) fn body(&self, world: &World) -> String {
        let model = if self.ending == Ending::NoModel { "nobody" } else { MODELS[self.model].0 };
        let prompt = self.prompt(world);
        let prompt = match self.dialect {
            Dialect::Chat => format!(r#""messages":[{{"role":"user","content":"{prompt}"}}]"#),
            Dialect::Completions => format!(r#""prompt":"{prompt}""#),
            Dialect::Responses => format!(r#""input":"{prompt}","store":false"#),
            Dialect::Embeddings => return format!(r#"{{"model":"{model}","input":"{prompt}"}}"#),
        };
        let asks = match self.dialect {
            Dialect::Chat | Dialect::Completions if self.stream && self.asks_usage => {
                r#","stream_options":{"include_usage":true}"#
            }
            _ => "",
        };
        format!(r#"{{"model":"{model}","stream":{}{asks},{prompt}}}"#, self.stream)
    }

    /// Tokens of the prompt.
    pub(super) fn input(&self, world: &World) -> u64 {
        world.texts[self.text][self.prompt.clone()].iter().map(|piece| piece.tokens).sum()
    }

    /// Tokens of the whole answer.
    pub(super) fn output(&self, world: &World) -> u64 {
        self.written(world, self.answer.len())
    }

    /// Tokens of its first pieces.
    pub(super) fn written(&self, world: &World, pieces: usize) -> u64 {
        match self.dialect {
            Dialect::Embeddings => 0,
            _ => world.texts[self.text][self.answer.clone()][..pieces].iter().map(|piece| piece.tokens).sum(),
        }
    }

    /// What is said in the pieces, as JSON has it.
    pub(super) fn says<'a>(&self, world: &'a World) -> impl ExactSizeIterator<Item = &'a str> {
        world.texts[self.text][self.answer.clone()].iter().map(|piece| &*piece.text)
    }

    /// How the record calls this ending, and who counted.
    pub(super) fn verdict(&self) -> (&'static str, Option<&'static str>) {
        match self.ending {
            Ending::Whole => ("ok", Some("reported")),
            Ending::NoUsage => ("ok", Some("estimated")),
            Ending::Status(_) => ("upstream_error", None),
            Ending::ErrorEvent => ("upstream_error", Some("estimated")),
            Ending::Cut => ("upstream_truncated", Some("estimated")),
            Ending::HangUp | Ending::HangUpUnseen => ("client_gone", Some("estimated")),
            Ending::HangUpAfterUsage => ("client_gone", Some("reported")),
            Ending::HangUpSending => ("client_gone", None),
            Ending::Stall | Ending::Silence => ("timeout", Some("estimated")),
            Ending::NoModel => ("refused", None),
        }
    }

    /// The status that the record has.
    pub(super) fn status(&self) -> Option<u64> {
        match self.ending {
            Ending::Status(status) => Some(u64::from(status)),
            Ending::NoModel => Some(404),
            Ending::Silence => Some(504),
            Ending::HangUpUnseen | Ending::HangUpSending => None,
            _ => Some(200),
        }
    }

    /// Whether an upstream is asked.
    pub(super) fn reaches_the_upstream(&self) -> bool {
        !matches!(self.ending, Ending::HangUpSending | Ending::NoModel)
    }
}

fn ending(picks: &mut Picks) -> Ending {
    match picks.between(0, 999) {
        0..520 => Ending::Whole,
        520..600 => Ending::NoUsage,
        600..680 => Ending::Status([400, 404, 429, 500, 503][picks.between(0, 4)]),
        680..710 => Ending::ErrorEvent,
        710..780 => Ending::Cut,
        780..890 => Ending::HangUp,
        890..920 => Ending::HangUpAfterUsage,
        920..950 => Ending::HangUpUnseen,
        950..965 => Ending::HangUpSending,
        965..980 => Ending::NoModel,
        980..997 => Ending::Stall,
        _ => Ending::Silence,
    }
}
