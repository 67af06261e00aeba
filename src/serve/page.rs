//! The page at `/` for people.

use jiff::Timestamp;
use maud::{DOCTYPE, html};

use crate::progress::Progress;

/// What the page may load: nothing but its own style.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page. `detail`: with more than the state and the version.
pub fn page(progress: &Progress, _now: Timestamp, detail: bool) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { "schemagate: " (progress.state.word()) }
            }
            body {
                h1 { (progress.state.word()) }
                @if let Some(version) = &progress.version { p { (version) } }
                @if let (true, Some(reason)) = (detail, &progress.reason) { p { (reason) } }
            }
        }
    }
    .into_string()
}
