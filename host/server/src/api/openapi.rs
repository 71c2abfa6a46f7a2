//! `/openapi.json`: every path, method, body and answer of the API, generated from the handlers. It says nothing about this
//! server's data and needs no key.

use super::{approvals, content, erasures, guards, health, ledger, runs};
use axum::Json;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

#[derive(OpenApi)]
#[openapi(
    info(title = "Aegis", description = "Guardrails for model calls: guards judge, people decide, runs go on. Whatever is wrong with a request's body or parameters is 422."),
    paths(
        runs::submit, runs::list, runs::fetch, content::fetch, runs::resume, runs::cancel, erasures::create, ledger::of_run, ledger::list, approvals::list, guards::list, guards::fetch, health::live,
        health::ready, health::metrics, document,
    ),
    modifiers(&Key),
    security(("key" = [])),
)]
struct Document;

struct Key;

impl Modify for Key {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let key = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("aeg-<64 hex digits>").build();
        document.components.get_or_insert_default().add_security_scheme("key", SecurityScheme::Http(key));
    }
}

/// This document. Needs no key.
#[utoipa::path(get, path = "/openapi.json", tag = "health", security(()), responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
pub(super) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::collections::BTreeSet;

    #[test]
    fn the_document_describes_exactly_the_paths_of_the_router() {
        let document: Value = serde_json::to_value(Document::openapi()).unwrap();
        let described: BTreeSet<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        let table = super::super::table();
        let routed: BTreeSet<&str> = table.iter().map(|(path, _)| *path).collect();
        assert_eq!(described, routed);
    }

    #[test]
    fn every_reference_in_the_document_leads_somewhere() {
        let text = serde_json::to_string(&Document::openapi()).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        for (at, _) in text.match_indices("\"#/components/schemas/") {
            let name = text[at + 22..].split('"').next().unwrap();
            assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
        }
    }
}
