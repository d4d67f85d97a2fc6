//! The cookies: the session, the browser that is known again, a sign-in that is half done, the page somebody wanted. All of
//! them HttpOnly and SameSite=Lax, and with TLS `Secure` under `__Host-` names, so that no neighbour of the domain can set
//! them (RFC 6265bis, 4.1.3). What comes back is what a stranger says. Used by `session`, `sign_in` and `landing`.

use super::WebState;
use axum::http::{HeaderMap, header};
use std::time::Duration;

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cookie {
    /// The secret of a session.
    Session,
    /// By which a browser is known again.
    Device,
    /// The secret of a sign-in that a passkey has to finish.
    HalfWay,
    /// The page that was wanted before signing in.
    Wanted,
}

/// A longer value is none of ours.
const LONGEST: usize = 512;

impl Cookie {
    fn name(self, state: &WebState) -> &'static str {
        match (self, state.is_https()) {
            (Cookie::Session, true) => "__Host-paraph_session",
            (Cookie::Session, false) => "paraph_session",
            (Cookie::Device, true) => "__Host-paraph_device",
            (Cookie::Device, false) => "paraph_device",
            (Cookie::HalfWay, true) => "__Host-paraph_half_way",
            (Cookie::HalfWay, false) => "paraph_half_way",
            (Cookie::Wanted, true) => "__Host-paraph_wanted",
            (Cookie::Wanted, false) => "paraph_wanted",
        }
    }

    /// Its value in a request (RFC 6265, 4.2).
    pub fn read(self, state: &WebState, headers: &HeaderMap) -> Option<String> {
        let name = self.name(state);
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).filter(|value| value.len() <= LONGEST)
    }

    /// The `Set-Cookie` value that gives it to a browser.
    pub fn set(self, state: &WebState, value: &str, life: Duration) -> String {
        let secure = if state.is_https() { "; Secure" } else { "" };
        format!("{}={value}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax{secure}", self.name(state), life.as_secs())
    }

    /// The `Set-Cookie` value that takes it away.
    pub fn clear(self, state: &WebState) -> String {
        self.set(state, "", Duration::ZERO)
    }
}
