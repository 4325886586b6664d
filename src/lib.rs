//! Tollgate: a stateless inference gateway. An application changes its OpenAI base URL to Tollgate's and nothing else; the
//! operator gets limits in requests and tokens for each tenant, exact metering, and metrics, with no database.
//!
//! This page is the tour of the code. `README.md` is for people who run it.
//!
//! # The way of a call
//!
//! One plain async function, [`gateway::Gateway::handle`], calls the stages in order. Each stage is a function in its own
//! file; what it returns, the next one takes as an argument, so that a wrong order does not compile.
//!
//! ```text
//! bytes ─ listener ─ guard ─ stack ─┐  Request<Body>, its body still unread
//!                                   ▼
//! authenticate(&headers)            → Caller{tenant, key}          400 401
//! find(path)                        → Endpoint                     404 405 426    models: answered here, from what is known
//! peek(&tenant)                     → ()                           429            the cheapest refusal: nothing read yet
//! receive(endpoint, body)           → Inbound{payload, peek}       400 408 413 415 503
//! route(&tenant, &model)            → Matched{route, pattern}      404
//! hold(&route, home, &peek)         → Wanted{home}                 400            where calls go that rely on kept state
//! hold(&plan, &route, &peek)        → Allowed{output cap}          400            what the plan lets a call ask for
//! admit(&mut call, &matched, …)     → Admission{flight, view}      429            all limits at once, or none
//! forward(&mut call, &admission, …) → Reply{parts, body}           502 503 504, or the upstream's own
//! meter(reply, call, flight, …)     → Response<ResponseBody>       settles on end, on error, on drop
//! ```
//!
//! Paths that are nothing but kept state, and unknown ones where the file names an upstream for them, leave this way after
//! the peek: `gateway::by_path` passes them on unread.
//!
//! What is known of a call gathers in [`gateway::call::Call`], from authentication on. It ends exactly once: when its answer
//! is over, when it is refused, or when it is dropped because the client left. [`gateway::settle`] then charges, counts, and
//! writes the one usage record.
//!
//! # The map, in the order of the path
//!
//! | module | what it does to a call |
//! |---|---|
//! | [`cli`] | reads the command line; `check`, `schema`, `keys`, `report` and `simulate` |
//! | [`config`] | turns the file into the one immutable value that all is built from, or names every fault in it |
//! | [`app`] | puts the parts together, drains them, and loses nothing on the way |
//! | [`server`] | takes connections, refuses what two readers could understand in two ways, keeps time |
//! | [`gateway`] | ★ the stages above; the only place that knows them all |
//! | [`tenant`] | who may call, with which key, for which models, within which limits |
//! | [`wire`] | the client's dialect: paths, the strict reading of JSON and of forms, the few spans that may be changed |
//! | [`limits`] | admits or refuses, and settles what a call really took |
//! | [`routing`] | finds the deployment for a model's name |
//! | [`upstream`] | carries a shaped request to the server that does the work, and its answer back |
//! | [`provider`] | where a dialect's paths stand, how it wants to be shown a credential |
//! | [`simulator`] | the built-in upstream, and its faults on demand |
//! | [`stream`] | reads along in streamed answers; takes out the one chunk that only we asked for |
//! | [`usage`] | how many tokens it took, who said so, and the record of it |
//! | [`admin`] | answers operators on a port of their own |
//! | [`telemetry`] | metrics, log lines, the writers that never block a call |
//! | [`secret`] | a credential that can be used and not be seen |
//! | [`net`] | what all need from outside: time, randomness, names, TLS |
//!
//! Arrows point one way: `server → gateway → tenant, routing → upstream → provider → wire`; `gateway` and `tenant` also know
//! `limits`, `usage` and `stream`; everyone may use `net`, `secret` and `telemetry`, which use none of the others. hyper's
//! server stands only in [`server`] (and, for ports of their own, in [`admin`] and `tollgate simulate`), its client only in
//! [`upstream`].
//!
//! # Invariants, worded as absences
//!
//! - No more of an answer is held than the frame in hand and one bounded partial line, and no byte of it is altered but by
//!   taking out the usage chunk that only we asked for. A compressed answer passes as it came, that chunk included; its usage
//!   is read in a decoded copy, within bounds.
//! - A client that leaves ends the upstream's work at once, or where `on_disconnect = "drain"` says so, within bounds.
//! - If reading along fails, the client notices nothing: usage becomes an estimate, is marked so, and a counter rises.
//! - No retry after the first byte of an answer.
//! - No call waits for admission: it is admitted or refused now.
//! - No label value of a metric comes from a client. No secret can be printed. No client's key reaches an upstream, and no
//!   upstream's credential a client.
//! - No state that outlives a call, but limit levels, what was learned of past calls, counts of failed sign-ins, and the lists
//!   of models that upstreams gave.
//! - No `unsafe`, and no panic on purpose: lints forbid both outside tests.
//!
//! # What runs where
//!
//! [`app::App::start`] makes one worker for each core: a thread with a runtime and a pool of upstream connections of its own.
//! They accept from one shared socket; limits, the configuration and metrics are shared too. The admin port, the settle task,
//! the fetching of model lists and the upkeep of metrics run on the caller's runtime, so that operators are answered when the
//! workers are busy.

// In the order of the path; empty lines between them, as rustfmt sorts what stands together.

pub mod cli;
pub mod config;

pub mod app;

pub mod server;

pub mod gateway;

pub mod tenant;

pub mod wire;

pub mod limits;

pub mod routing;

pub mod upstream;

pub mod provider;

pub mod simulator;

pub mod stream;

pub mod usage;

pub mod admin;

pub mod telemetry;

pub mod secret;

pub mod net;
