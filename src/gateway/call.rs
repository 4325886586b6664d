//! Follows one call from its authentication to its one record, whatever happens in between.
//!
//! A [`Call`] that is dropped before its end is a client that left: it is settled all the same. Must not know HTTP.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics::Gauge;

use super::services::Services;
use super::settle::{self, Ending};
use crate::limits::{InFlight, Learned, Reservation};
use crate::net::clock::Moment;
use crate::routing::prices::PriceTable;
use crate::routing::{Deployment, Matched};
use crate::tenant::Caller;
use crate::upstream::Upstream;
use crate::usage::money::Usd;
use crate::usage::record::Outcome;
use crate::usage::{Anomalies, Details, Tier, Usage};
use crate::wire::endpoint::Endpoint;
use crate::wire::endpoint::by_path::Bills;

/// A call that passed authentication. Ends exactly once: by [`Call::end`], or by being dropped.
pub struct Call {
    services: Arc<Services>,
    /// `None` once ended.
    facts: Option<Box<Facts>>,
}

/// What is known of a call.
pub struct Facts {
    /// Our id of it.
    pub id: String,
    /// Who calls.
    pub caller: Caller,
    /// What is asked for; `None` for a path that is not served.
    pub endpoint: Option<Endpoint>,
    /// When its head was read.
    pub received: Moment,
    /// When its body had arrived: what passed before was the client's time.
    pub here: Moment,
    /// Whether it gets a log line.
    pub log: bool,
    /// What the client says the call is for, where records have a tag.
    pub tag: Option<Box<str>>,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// The model asked for.
    pub model: Option<String>,
    /// The model that answered.
    pub served_model: Option<String>,
    /// The route.
    pub matched: Option<Matched>,
    /// Where it goes, if not to its route's deployment.
    pub detour: Option<Box<Detour>>,
    /// Whether the upstream may go on with it after its answer.
    pub background: bool,
    /// The upstream that was tried last.
    pub upstream: Option<Arc<str>>,
    /// What was reserved.
    pub reservation: Option<Reservation>,
    /// What was estimated before.
    pub estimate: Estimate,
    /// What this tenant's calls on this route are like.
    pub learned: Option<Arc<Learned>>,
    /// Attempts at upstreams.
    pub attempts: u32,
    /// When the request's first bytes went to the upstream; `None` if none did: then nothing is charged.
    pub sent: Option<Moment>,
    /// When the first byte of the answer's body came.
    pub first_byte: Option<Moment>,
    /// The status that the client gets.
    pub status: u16,
    /// Time that passed here, from the body's last byte to the request's way to the upstream.
    pub overhead: Duration,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body, as passed on.
    pub bytes_out: u64,
    /// What the answer said of itself.
    pub reading: Reading,
    /// Where the cost is to be told as well, for the head of the answer.
    pub told_cost: Option<Arc<OnceLock<Usd>>>,
}

/// A way beside the deployment of a route.
pub enum Detour {
    /// To the home of kept state, as this deployment.
    Home(Deployment),
    /// By its path.
    ByPath {
        /// Where to.
        upstream: Arc<Upstream>,
        /// Whether its answer can tell of new usage.
        bills: Bills,
        /// What that costs.
        prices: Arc<PriceTable>,
    },
}

impl Facts {
    /// Where it goes.
    #[must_use]
    pub fn to(&self) -> Option<&Arc<Upstream>> {
        match self.detour.as_deref() {
            Some(Detour::Home(deployment)) => Some(&deployment.upstream),
            Some(Detour::ByPath { upstream, .. }) => Some(upstream),
            None => Some(&self.matched.as_ref()?.route.deployment.upstream),
        }
    }

    /// Whether its answer can tell of new usage, where it goes by its path; else `None`.
    #[must_use]
    pub fn by_path(&self) -> Option<Bills> {
        match self.detour.as_deref() {
            Some(Detour::ByPath { bills, .. }) => Some(*bills),
            _ => None,
        }
    }
}

/// What a call was thought to need.
#[derive(Clone, Copy, Debug, Default)]
pub struct Estimate {
    /// Input tokens.
    pub input: u64,
    /// Output tokens that were planned for: the cap, or what was learned.
    pub output: u64,
    /// Bytes of text in the request; 0 where attachments make them say nothing.
    pub input_bytes: u64,
    /// Answers to each prompt that were asked for (`n`, `best_of`): images, where those are what is made.
    pub answers: u64,
}

/// What the answer said of itself, as far as it was read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// The usage it reported.
    pub usage: Option<Usage>,
    /// What else it reported that can be billed; none if all is zero.
    pub details: Option<Box<Details>>,
    /// The service tier that it names.
    pub tier: Option<Tier>,
    /// Decoded bytes of generated text that passed.
    pub text_bytes: u64,
    /// What was wrong with the report.
    pub anomalies: Anomalies,
    /// Why its usage could not be looked for.
    pub unmetered: Option<&'static str>,
}

/// A place in flight, from admission to the last byte; the tenant's gauge shows it.
pub struct Flight {
    _place: InFlight,
    gauge: Gauge,
}

impl Flight {
    /// Holds the place and raises the gauge.
    #[must_use]
    pub fn new(place: InFlight, gauge: &Gauge) -> Self {
        gauge.increment(1.0);
        Flight { _place: place, gauge: gauge.clone() }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.gauge.decrement(1.0);
    }
}

impl Call {
    /// Begins to write down a call.
    #[must_use]
    pub fn open(services: &Arc<Services>, id: String, caller: Caller, received: Moment) -> Self {
        let facts = Facts {
            id,
            caller,
            endpoint: None,
            received,
            here: received,
            log: false,
            tag: None,
            stream: false,
            model: None,
            served_model: None,
            matched: None,
            detour: None,
            background: false,
            upstream: None,
            reservation: None,
            estimate: Estimate::default(),
            learned: None,
            attempts: 0,
            sent: None,
            first_byte: None,
            status: 0,
            overhead: Duration::ZERO,
            bytes_in: 0,
            bytes_out: 0,
            reading: Reading::default(),
            told_cost: None,
        };
        Call { services: Arc::clone(services), facts: Some(Box::new(facts)) }
    }

    /// What every call uses.
    #[must_use]
    pub fn services(&self) -> &Arc<Services> {
        &self.services
    }

    /// What is known; `None` once the call has ended.
    pub fn facts(&mut self) -> Option<&mut Facts> {
        self.facts.as_deref_mut()
    }

    /// Whether no byte of the answer has come yet.
    #[must_use]
    pub fn has_no_first_byte(&self) -> bool {
        self.facts.as_ref().is_some_and(|facts| facts.first_byte.is_none())
    }

    /// Whether the text of the answer is worth counting although its usage may be reported.
    #[must_use]
    pub fn wants_text(&self) -> bool {
        let learned = self.facts.as_ref().and_then(|facts| facts.learned.as_ref());
        learned.is_none_or(|learned| learned.wants_text())
    }

    /// Writes down more; without effect once the call has ended.
    pub fn note(&mut self, write: impl FnOnce(&mut Facts)) {
        if let Some(facts) = self.facts.as_deref_mut() {
            write(facts);
        }
    }

    /// The call itself, to be ended elsewhere; what is left here has ended.
    pub(super) fn take(&mut self) -> Call {
        Call { services: Arc::clone(&self.services), facts: self.facts.take() }
    }

    /// Ends the call: settles what was reserved, counts it, writes its record.
    pub fn end(&mut self, ending: Ending) {
        if let Some(facts) = self.facts.take() {
            let now = self.services.clock.now();
            self.services.settling.finish(settle::settle(Arc::clone(&self.services), facts, ending, now));
        }
    }
}

impl Drop for Call {
    /// The client left, or a panic unwound: the settle task does what is left to do.
    fn drop(&mut self) {
        if let Some(facts) = self.facts.take() {
            let now = self.services.clock.now();
            let outcome = if std::thread::panicking() { Outcome::InternalError } else { Outcome::ClientGone };
            let ending = Ending::Broken(outcome);
            self.services.settling.enqueue(settle::settle(Arc::clone(&self.services), facts, ending, now));
        }
    }
}
