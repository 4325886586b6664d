//! Finds where a call goes, and that its tenant may go there.
//!
//! Must not know limits, nor whether an upstream is healthy.

use super::error::GatewayError;
use crate::routing::{Matched, RouteTable};
use crate::tenant::Tenant;

/// The route for a model name. To a tenant that may not use it, a model does not exist.
///
/// # Errors
/// 404 `model_not_found`.
pub fn route(tenant: &Tenant, model: &str, routes: &RouteTable) -> Result<Matched, GatewayError> {
    let matched = tenant.may_use(model).then(|| routes.find(model)).flatten();
    matched.ok_or_else(|| GatewayError::ModelNotFound { model: model.to_owned() })
}
