//! The edge towards reviewers: pages as plain forms and page loads, live updates that only refine them, and the
//! API of contract.md 3. Every route stands here on one screen; one page or action per file beside it.
//! It decides nothing: everything goes through a `Reviewer` of the gate. Made by `serve`.

mod account;
mod agent;
mod agents;
mod api;
mod arrival;
mod assets;
mod audit;
mod before;
mod call_page;
mod call_view;
mod config;
mod context;
mod cookies;
mod decision;
mod difference;
mod door;
mod edit;
mod form;
mod inbox;
mod landing;
mod lift;
mod limits;
mod lists;
mod live;
mod masked;
mod moment;
mod notices;
mod office;
mod page;
mod panel;
mod passkeys;
mod pause;
mod people;
mod person;
mod received;
mod resolution;
mod row;
mod servers;
mod session;
mod shown;
mod sign_in;
mod sign_out;
mod undo;

use crate::config::Standing;
use crate::domain::door::Door;
use crate::gate::Gate;
use crate::gate::passkeys::Passkeys;
use axum::Router;
use axum::routing::{get, post};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Semaphore;

/// What `serve` knows of the outside.
#[derive(Debug, Clone)]
pub struct WebSettings {
    /// What links point at, without a trailing slash; https makes cookies `Secure` with `__Host-`.
    pub public_url: String,
    /// The names we answer to.
    pub door: Door,
    /// Open live streams of pages and API, at most.
    pub live_pages: usize,
    /// Bytes of an API request body, at most.
    pub body: usize,
    /// The operator allowed unencrypted HTTP from outside: every page says so.
    pub insecure_http: bool,
    /// Shown at the foot of every page.
    pub version: &'static str,
    /// How the configuration stands, for operators.
    pub standing: Standing,
}

/// What every page and action is given; clones share it.
#[derive(Clone)]
pub struct WebState {
    gate: Gate,
    settings: Arc<WebSettings>,
    streams: Arc<Semaphore>,
    /// Where browsers offer passkeys.
    passkeys: Option<Passkeys>,
    /// Bytes of an API request body, at most; a reload changes it.
    body: Arc<AtomicUsize>,
}

impl WebState {
    /// Joins the gate and the settings.
    pub fn new(gate: Gate, settings: WebSettings) -> WebState {
        let streams = Arc::new(Semaphore::new(settings.live_pages.min(Semaphore::MAX_PERMITS)));
        let body = Arc::new(AtomicUsize::new(settings.body));
        let passkeys = Passkeys::new(gate.clone(), &settings.public_url);
        WebState { passkeys, gate, settings: Arc::new(settings), streams, body }
    }

    /// Another bound for API requests that come from now on, in bytes.
    pub fn bound_bodies(&self, bytes: usize) {
        self.body.store(bytes, Ordering::Relaxed);
    }

    fn is_https(&self) -> bool {
        self.settings.public_url.starts_with("https://")
    }
}

/// Every page, action and API route, with the door in front of them.
pub fn routes(state: WebState) -> Router {
    let pages = Router::new()
        .route("/", get(inbox::show))
        .route("/calls/{id}", get(call_page::show))
        .route("/calls/{id}/row", get(row::show))
        .route("/calls/{id}/panel", get(panel::show))
        .route("/calls/{id}/decision", post(decision::decide))
        .route("/calls/{id}/undo", post(undo::undo))
        .route("/calls/{id}/resolution", post(resolution::resolve))
        .route("/calls/{id}/lift", post(lift::lift))
        .route("/pause", get(pause::show).post(pause::pause))
        .route("/resume", post(pause::resume))
        .route("/notices", get(notices::show))
        .route("/audit", get(audit::show))
        .route("/servers", get(servers::show))
        .route("/config", get(config::show))
        .route("/limits", get(limits::show))
        .route("/people", get(people::show).post(people::add))
        .route("/people/{id}", get(person::show).post(person::change))
        .route("/people/{id}/disable", post(person::disable))
        .route("/people/{id}/enable", post(person::enable))
        .route("/people/{id}/link", post(person::link))
        .route("/people/{id}/sign-out", post(person::sign_out))
        .route("/people/{id}/tokens", post(person::revoke_token))
        .route("/people/{id}/passkeys", post(person::remove_passkeys))
        .route("/agents", get(agents::show).post(agents::add))
        .route("/agents/{name}", get(agent::show).post(agent::change))
        .route("/agents/{name}/rotate", post(agent::rotate))
        .route("/agents/{name}/revoke", post(agent::revoke))
        .route("/sign-in", get(sign_in::help))
        .route("/sign-in/link", post(sign_in::mail_link))
        .route("/sign-in/password", post(sign_in::password))
        .route("/sign-in/passkey", post(passkeys::sign_in))
        .route("/sign-in/second", get(passkeys::second).post(passkeys::finish_second))
        .route("/sign-in/{secret}", get(sign_in::ask).post(sign_in::redeem))
        .route("/sign-out", post(sign_out::sign_out))
        .route("/account", get(account::show))
        .route("/account/mail", post(account::choose_mail))
        .route("/account/password", post(account::set_password))
        .route("/account/password/remove", post(account::remove_password))
        .route("/account/passkeys", post(passkeys::add))
        .route("/account/passkeys/remove", post(passkeys::remove))
        .route("/account/second-factor", post(passkeys::second_factor))
        .route("/account/sessions/end", post(account::end_session))
        .route("/account/sign-out", post(account::sign_out_everywhere))
        .route("/account/tokens", post(account::make_token))
        .route("/account/tokens/revoke", post(account::revoke_token))
        .route("/live", get(live::stream))
        .route("/static/{name}", get(assets::serve));
    pages
        .merge(api::routes())
        .fallback(page::not_found)
        .method_not_allowed_fallback(page::wrong_method)
        .layer(axum::middleware::from_fn_with_state(state.clone(), door::guard))
        .with_state(state)
}
