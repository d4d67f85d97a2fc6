//! Who may talk to this edge at all, asked before any token is looked at (MCP, transports, "Security Warning").
//! Absent `Origin` is fine: programs send none. Called first by `http` for every request.

use crate::domain::door::Door;
use ::http::header;
use ::http::request::Parts;

/// Whether the request may come in.
pub(super) fn lets_in(door: &Door, request: &Parts) -> bool {
    let lines = |name| request.headers.get_all(name).iter().map(|value| value.to_str().ok());
    door.lets_in(request.uri.authority().map(|authority| authority.as_str()), lines(header::HOST))
        && lines(header::ORIGIN).all(|origin| origin.is_some_and(|origin| door.knows_origin(origin)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(headers: &[(header::HeaderName, &str)]) -> bool {
        let mut request = ::http::Request::builder();
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        lets_in(&Door::new(7420, "https://gate.example.org", &[]), &request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn one_known_host_and_no_foreign_origin_are_let_in() {
        let ours = (header::HOST, "localhost:7420");
        assert!(asks(std::slice::from_ref(&ours)));
        assert!(asks(&[ours.clone(), (header::ORIGIN, "https://gate.example.org")]));
        assert!(!asks(&[]));
        assert!(!asks(&[(header::HOST, "evil.example")]));
        assert!(!asks(&[ours.clone(), ours.clone()]));
        assert!(!asks(&[ours.clone(), (header::ORIGIN, "null")]));
        assert!(!asks(&[ours, (header::ORIGIN, "https://gate.example.org"), (header::ORIGIN, "https://evil.example")]));
    }
}
