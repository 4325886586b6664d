//! Finds the homes of kept state, and sees to it that no two tenants share one by accident.
//!
//! Must not know what a call does with them.

use std::collections::HashMap;
use std::sync::Arc;

use serde_spanned::Spanned;

use super::super::fault::{Complaint, shown};
use super::super::raw;
use super::Resolver;
use super::upstreams::{self, Made, Upstreams};
use crate::upstream::Upstream;

/// The word for which there is no upstream.
const REFUSE: &str = "refuse";

/// Every tenant's home is an upstream that serves, and one tenant's alone unless the upstream's table allows more.
pub(super) fn homes(tenants: &raw::Named<raw::Tenant>, upstreams: &Upstreams, resolver: &mut Resolver<'_, '_>) {
    let mut first: HashMap<&str, (&str, usize)> = HashMap::new();
    for (tenant, written) in tenants {
        let Some(home) = &written.stateful else { continue };
        let lost = format!("tenant {} has no home for what is kept", shown(tenant.get_ref()));
        if upstreams::serving(home, &lost, upstreams, resolver).is_none() {
            continue;
        }
        let shared = match upstreams.get(home.get_ref()) {
            Some(Made::Ready(_, origin)) => origin.shared_state,
            _ => true,
        };
        let (other, line) =
            *first.entry(home.get_ref()).or_insert((tenant.get_ref(), resolver.faults.place(home.span().start).line));
        if other == tenant.get_ref() || shared {
            continue;
        }
        let complaint = Complaint::new(
            format!(
                "tenants {} (line {line}) and {} both keep their state at upstream {}: each could read the other's files and stored responses",
                shown(other),
                shown(tenant.get_ref()),
                shown(home.get_ref())
            ),
            "an upstream with an account of its own for each tenant",
        );
        let hint = "another upstream; or, if they may read each other's, shared_state = true in the upstream's table";
        resolver.faults.add(&home.span(), complaint.hint(hint));
    }
}

/// Where paths go that are not known.
pub(super) fn unknown_paths(
    written: Option<&Spanned<String>>,
    upstreams: &Upstreams,
    resolver: &mut Resolver<'_, '_>,
) -> Option<Arc<Upstream>> {
    let name = written.filter(|name| name.get_ref() != REFUSE)?;
    upstreams::serving(name, "`server.unknown_paths` leads nowhere", upstreams, resolver)
}

/// Homes that no call will see.
pub(super) fn notices(routes: &[Spanned<raw::Route>], notices: &mut Vec<String>) {
    for route in routes.iter().map(Spanned::get_ref) {
        if route.stateful.is_some() && !matches!(route.state, raw::State::Pass) {
            let first = route.models.first().map_or("", |pattern| pattern.get_ref());
            notices.push(format!("route {first}: `stateful` has no effect without state = \"pass\""));
        }
    }
}
