//! Errors as RFC 9457 problem details, each with a stable `code` and the id of the operation that failed.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::json;
use tracing::{error, info};

use crate::app::AppError;
use crate::auth::secret::random_bytes;

/// The header that carries the id of an operation, on every answer.
pub const OPERATION_HEADER: HeaderName = HeaderName::from_static("x-operation-id");

/// The id of one operation: in the answer, in the log, on the portal's error page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationId(pub String);

/// What went wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    code: String,
    detail: String,
    retry_after_s: Option<u64>,
    log: Option<String>,
}

impl Problem {
    /// A problem with a stable code and a sentence for people.
    #[must_use]
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), detail: detail.into(), retry_after_s: None, log: None }
    }

    /// Says when trying again makes sense.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds.max(1));
        self
    }

    /// Nobody said who they are, or not believably.
    #[must_use]
    pub fn unauthenticated() -> Self {
        let detail = "send an API token as “Authorization: Bearer wp_…”, or sign in to the portal";
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
    }

    /// There is no such page or thing.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "notFound", format!("there is no {what}"))
    }

    /// A failure on the server's side: the caller learns the operation id, the log the causes.
    #[must_use]
    pub fn internal(log: String) -> Self {
        let detail = "the server failed; its log says why under this operation id";
        Self { log: Some(log), ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail) }
    }

    /// The stable word for programs.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The sentence for people.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    fn render(&self, operation: &OperationId) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let body = json!({
            "type": "about:blank", "title": title, "status": self.status.as_u16(),
            "code": self.code, "detail": self.detail, "operationId": operation.0,
        });
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<AppError> for Problem {
    fn from(error: AppError) -> Self {
        let chain = error.chain();
        if error.is_disk_full() {
            let detail = "the server's disk is full, so nothing was saved; free some space and try again";
            return Self { log: Some(chain), ..Self::new(StatusCode::INSUFFICIENT_STORAGE, "diskFull", detail) };
        }
        match error {
            AppError::NotFound { what, id } => Self::not_found(&format!("{what} {id}")),
            AppError::Denied(denied) => Self::new(StatusCode::FORBIDDEN, "forbidden", denied.to_string()),
            AppError::Refused { code, why } => Self::new(StatusCode::CONFLICT, code, why),
            AppError::Invalid { field, why } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", format!("{field}: {why}"))
            }
            AppError::TooLarge { why } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "tooLarge", why),
            AppError::Store(_) | AppError::Random(_) | AppError::Files { .. } => Self::internal(chain),
        }
    }
}

impl IntoResponse for Problem {
    /// An empty answer that carries the problem; [`operation`] writes it out.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives every request its operation id, and writes the problems out that its handlers answered with.
pub async fn operation(mut request: Request, next: Next) -> Response {
    let id = random_bytes::<8>().map(hex::encode).unwrap_or_else(|_| "unknown".to_owned());
    let operation = OperationId(id);
    request.extensions_mut().insert(operation.clone());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = next.run(request).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let (code, id) = (problem.code.as_str(), operation.0.as_str());
        match &problem.log {
            Some(log) => error!(operation = id, %method, path, code, "{log}"),
            None => info!(operation = id, %method, path, code, "refused"),
        }
        response = problem.render(&operation);
    }
    if let Ok(value) = HeaderValue::from_str(&operation.0) {
        response.headers_mut().insert(OPERATION_HEADER, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    #[test]
    fn a_full_disk_is_told_apart_however_deep_it_lies() {
        let files = |source| AppError::Files { doing: "take a package in", source };
        for (error, status, code) in [
            (files(Error::from(ErrorKind::StorageFull)), 507, "diskFull"),
            (files(Error::other(Error::from(ErrorKind::StorageFull))), 507, "diskFull"),
            (files(Error::from(ErrorKind::PermissionDenied)), 500, "internal"),
            (AppError::TooLarge { why: "x".to_owned() }, 413, "tooLarge"),
        ] {
            let problem = Problem::from(error);
            assert_eq!((problem.status.as_u16(), problem.code()), (status, code));
            assert!(!problem.detail().contains("package"), "what went wrong inside is for the log");
        }
    }
}
