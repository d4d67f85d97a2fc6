//! What a request of an agent knows of its connection: when the client closes it, which decides if an answer that it
//! took counts as delivered (semantics.md 8). Given with every request by `serve`; `http` asks it.

use ::http::request::Parts;
use ::http::{HeaderMap, Version, header};
use tokio_util::sync::CancellationToken;

/// The connection of a request.
#[derive(Clone, Debug)]
pub struct Connection {
    closed: CancellationToken,
}

impl Connection {
    /// `closed` fires when the connection is over.
    pub fn new(closed: CancellationToken) -> Connection {
        Connection { closed }
    }

    /// Fires when the client of this request closes its connection. `None` when that would mean nothing: it is ours to
    /// close after this one answer (RFC 9112, 9.3 and 9.6).
    pub(super) fn closed_by_client(self, parts: &Parts) -> Option<CancellationToken> {
        let ours = parts.version < Version::HTTP_11 || says_close(&parts.headers);
        (!ours).then_some(self.closed)
    }
}

fn says_close(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|option| option.trim().eq_ignore_ascii_case("close"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::http::Request;

    #[test]
    fn a_connection_that_is_ours_to_close_says_nothing_of_the_client() {
        let connection = Connection::new(CancellationToken::new());
        let asks = |version, options: &[&str]| {
            let mut request = Request::builder().version(version);
            for option in options {
                request = request.header("connection", *option);
            }
            connection.clone().closed_by_client(&request.body(()).unwrap().into_parts().0)
        };
        assert!(asks(Version::HTTP_11, &[]).is_some());
        assert!(asks(Version::HTTP_11, &["keep-alive"]).is_some());
        assert!(asks(Version::HTTP_11, &["Close"]).is_none());
        assert!(asks(Version::HTTP_11, &["x", "te , close"]).is_none());
        assert!(asks(Version::HTTP_10, &["keep-alive"]).is_none());
    }
}
