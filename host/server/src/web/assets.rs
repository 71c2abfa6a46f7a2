//! Style, script and icon: a part of the program, the same for everybody, and kept by browsers under a name that changes with them.

use crate::api::ApiError;
use aegis_core::Digest;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

/// Where pages find them.
pub(super) struct Assets;

struct Asset {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

const ICON: Asset = Asset { name: "icon.svg", kind: "image/svg+xml", text: include_str!("assets/icon.svg") };
const SCRIPT: Asset = Asset { name: "page.js", kind: "text/javascript; charset=utf-8", text: include_str!("assets/page.js") };
const STYLE: Asset = Asset { name: "page.css", kind: "text/css; charset=utf-8", text: include_str!("assets/page.css") };

impl Assets {
    /// The picture in the window's title and the page's head.
    pub(super) fn icon(&self) -> String {
        ICON.address()
    }

    /// What makes new questions appear.
    pub(super) fn script(&self) -> String {
        SCRIPT.address()
    }

    /// How pages look.
    pub(super) fn style(&self) -> String {
        STYLE.address()
    }
}

impl Asset {
    fn address(&self) -> String {
        format!("/approvals/assets/{}?v={}", self.name, &Digest::of(self.text.as_bytes()).hex()[..12])
    }
}

pub(super) async fn serve(name: Result<Path<String>, PathRejection>) -> Result<Response, ApiError> {
    let Path(name) = name.map_err(|_| ApiError::no_path())?;
    let found = [ICON, SCRIPT, STYLE].into_iter().find(|it| it.name == name).ok_or_else(ApiError::no_path)?;
    Ok(([(CONTENT_TYPE, found.kind), (CACHE_CONTROL, "public, max-age=31536000, immutable")], found.text).into_response())
}
