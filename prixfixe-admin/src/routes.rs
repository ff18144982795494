//! What each path of the admin endpoints answers.
//!
//! Not `axum`: six paths that only read need no router, and the limits of a connection need hyper
//! itself.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use prixfixe_server::Metrics;

use super::page::Page;
use super::status::Readiness;
use super::{Status, host};

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// Answers a request that came to the address `local`. Its body, if it has one, is not read.
pub(super) fn answer<B>(
    request: &Request<B>,
    local: Option<SocketAddr>,
    status: &Status,
) -> Response<Full<Bytes>> {
    let Some(route) = Route::of(request.uri().path()) else {
        return response(StatusCode::NOT_FOUND, TEXT, "not found\n");
    };
    // The body of an answer to HEAD is left out by hyper.
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n");
        refusal
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    if route.is_private() && host::is_foreign(request, local) {
        return response(StatusCode::MISDIRECTED_REQUEST, TEXT, FOREIGN);
    }
    route.answer(request.uri().query(), status)
}

const FOREIGN: &str = "at a loopback address the status is for those who ask by an address, by localhost or by a name without a dot; \
                       let a proxy set Host to localhost\n";

enum Route {
    Page,
    Metrics,
    Status,
    Health,
    Readiness,
}

impl Route {
    fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/" => Self::Page,
            "/metrics" => Self::Metrics,
            "/status.json" => Self::Status,
            "/healthz" => Self::Health,
            "/readyz" => Self::Readiness,
            _ => return None,
        })
    }

    /// It tells of clients, senders and recipients, and is asked for by browsers. Probes and
    /// Prometheus name their target as they like.
    fn is_private(&self) -> bool {
        matches!(self, Self::Page | Self::Status)
    }

    fn answer(&self, query: Option<&str>, status: &Status) -> Response<Full<Bytes>> {
        match self {
            Self::Page => page(),
            Self::Metrics => response(StatusCode::OK, Metrics::CONTENT_TYPE, status.metrics()),
            Self::Status => match status.json(after(query)) {
                Ok(json) => response(StatusCode::OK, JSON, json),
                Err(error) => {
                    let text = format!("{error}\n");
                    response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, text)
                }
            },
            Self::Health => response(StatusCode::OK, TEXT, "alive\n"),
            Self::Readiness => {
                let readiness = status.readiness();
                let code = match readiness {
                    Readiness::Ready | Readiness::Degraded(_) => StatusCode::OK,
                    Readiness::Draining | Readiness::Failing(_) => StatusCode::SERVICE_UNAVAILABLE,
                };
                response(code, TEXT, format!("{readiness}\n"))
            }
        }
    }
}

/// `after=N`: the page has the history up to that sample.
fn after(query: Option<&str>) -> Option<u64> {
    let mut pairs = query?.split('&');
    pairs.find_map(|pair| pair.strip_prefix("after=")?.parse().ok())
}

fn page() -> Response<Full<Bytes>> {
    let page = Page::get();
    let mut response = response(StatusCode::OK, HTML, page.document.clone());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, page.policy.clone());
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    response
}

fn response(
    code: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}
