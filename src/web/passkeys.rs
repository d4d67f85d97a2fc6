//! Passkeys on the pages: signing in with one alone, the second half of a sign-in, and the person's own list. The browser's
//! part needs a script (`static/passkey.js`): a form carries the options out and the answer back, so that every step stays
//! a plain form post. Where a browser would offer no passkeys, the pages say why. Used by `sign_in` and `account`.

use super::account;
use super::arrival::Arriving;
use super::cookies::Cookie;
use super::form::{Fields, Submitted};
use super::moment::Moment;
use super::page::{self, Frame};
use super::shown::Shown;
use super::{WebState, assets, sign_in};
use crate::domain::people::Passkey;
use crate::gate::account::AccountError;
use crate::gate::passkeys::{Ceremony, PasskeyError};
use crate::gate::signin::Opened;
use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use jiff::Timestamp;

/// What the script needs for one form.
pub struct Asked {
    /// For `navigator.credentials`, JSON.
    pub options: String,
    /// Comes back unchanged.
    pub sealed: String,
    /// Where the script is.
    pub script: String,
}

impl Asked {
    fn new(ceremony: Ceremony) -> Asked {
        Asked { options: ceremony.options, sealed: ceremony.sealed, script: assets::address("passkey.js") }
    }
}

/// One passkey in its owner's list.
pub struct Listed {
    /// Names it in forms.
    pub id: String,
    /// What its owner calls it.
    pub name: Shown,
    /// When it was made.
    pub made: Moment,
    /// When it was last used.
    pub used: Option<Moment>,
}

/// The section of the account page.
pub struct Section {
    /// Browsers offer passkeys under this gateway's URL.
    pub possible: bool,
    /// What a new one begins with; only soon after signing in.
    pub adding: Option<Asked>,
    /// Oldest first.
    pub list: Vec<Listed>,
    /// A passkey has to finish every sign-in.
    pub second_factor: bool,
}

#[derive(Template)]
#[template(path = "second.html")]
struct Second {
    frame: Frame,
    asked: Asked,
    /// What passkeys belong to.
    address: String,
    /// The passkey was not accepted just now.
    again: bool,
}

/// What the sign-in page begins with; `None` where there are no passkeys.
pub fn asked(state: &WebState) -> Option<Asked> {
    state.passkeys.as_ref()?.begin_sign_in().ok().map(Asked::new)
}

/// The section for this person.
pub async fn section(
    state: &WebState,
    by: &super::session::SignedIn,
    fresh: bool,
    second_factor: bool,
    now: Timestamp,
) -> Result<Section, crate::gate::Failure> {
    let list = state.gate.passkeys_of(&by.reviewer.person().email).await?;
    let adding = match &state.passkeys {
        Some(passkeys) if fresh => passkeys.begin_adding(&by.reviewer).await.ok().map(Asked::new),
        Some(_) | None => None,
    };
    Ok(Section { possible: state.passkeys.is_some(), adding, list: list.iter().map(|passkey| Listed::of(passkey, now)).collect(), second_factor })
}

impl Listed {
    fn of(passkey: &Passkey, now: Timestamp) -> Listed {
        Listed {
            id: passkey.id.clone(),
            name: Shown::new(&passkey.name),
            made: Moment::new(passkey.made_at, now),
            used: passkey.used_at.map(|at| Moment::new(at, now)),
        }
    }
}

/// `POST /sign-in/passkey`
pub async fn sign_in(State(state): State<WebState>, Arriving(arrival): Arriving, headers: HeaderMap, form: Fields) -> Response {
    let Some(passkeys) = &state.passkeys else { return none_here(&state).await };
    match Box::pin(passkeys.finish_sign_in(form.field("sealed"), form.field("answer"), &arrival)).await {
        Ok(session) => sign_in::landed(&state, &headers, Opened::In(session)).await,
        Err(PasskeyError::Failure(failure)) => page::failure(&state, None, &failure),
        Err(_) => sign_in::passkey_refused(&state).await,
    }
}

/// `GET /sign-in/second`: the passkey that finishes a sign-in.
pub async fn second(State(state): State<WebState>, headers: HeaderMap) -> Response {
    ask_second(&state, &headers, StatusCode::OK, false).await
}

/// `POST /sign-in/second`
pub async fn finish_second(State(state): State<WebState>, Arriving(arrival): Arriving, headers: HeaderMap, form: Fields) -> Response {
    let Some(passkeys) = &state.passkeys else { return no_second(&state).await };
    let begun = Cookie::HalfWay.read(&state, &headers).unwrap_or_default();
    match Box::pin(passkeys.finish_second(&begun, form.field("sealed"), form.field("answer"), &arrival)).await {
        Ok(session) => sign_in::landed(&state, &headers, Opened::In(session)).await,
        Err(PasskeyError::Failure(failure)) => page::failure(&state, None, &failure),
        Err(_) => ask_second(&state, &headers, StatusCode::UNAUTHORIZED, true).await,
    }
}

async fn ask_second(state: &WebState, headers: &HeaderMap, status: StatusCode, again: bool) -> Response {
    let Some(passkeys) = &state.passkeys else { return no_second(state).await };
    let begun = Cookie::HalfWay.read(state, headers).unwrap_or_default();
    match passkeys.begin_second(&begun).await {
        Ok(Some(ceremony)) => {
            let (frame, address) = (Frame::new(state, None, "").await, state.settings.public_url.clone());
            page::html(state, status, &Second { frame, asked: Asked::new(ceremony), address, again })
        }
        Ok(None) | Err(PasskeyError::Refused | PasskeyError::TooMany | PasskeyError::Stale) => sign_in::too_late(state).await,
        Err(PasskeyError::Failure(failure)) => page::failure(state, None, &failure),
    }
}

/// `POST /account/passkeys`
pub async fn add(State(state): State<WebState>, form: Submitted) -> Response {
    let by = &form.by;
    let Some(passkeys) = &state.passkeys else { return none_here(&state).await };
    let (sealed, answer, name) = (form.field("sealed"), form.field("answer"), form.field("name"));
    let added = Box::pin(passkeys.finish_adding(&by.reviewer, &by.secret, sealed, answer, name)).await;
    account::done(&state, by, added.map_err(told), "passkey").await
}

/// `POST /account/passkeys/remove`
pub async fn remove(State(state): State<WebState>, form: Submitted) -> Response {
    let removed = form.by.reviewer.remove_own_passkey(&form.by.secret, form.field("id")).await;
    account::done(&state, &form.by, removed.map_err(told), "no-passkey").await
}

/// `POST /account/second-factor`
pub async fn second_factor(State(state): State<WebState>, form: Submitted) -> Response {
    let set = form.by.reviewer.ask_for_second_factor(&form.by.secret, form.field("on") == "yes").await;
    account::done(&state, &form.by, set.map_err(told), "second-factor").await
}

fn told(error: PasskeyError) -> AccountError {
    match error {
        PasskeyError::Refused => {
            AccountError::NotSo("The passkey was not accepted: the request was too old or was used before, or there is no such passkey. Try again.")
        }
        PasskeyError::TooMany => AccountError::NotSo("You have as many passkeys as are kept. Remove one first."),
        PasskeyError::Stale => AccountError::NotSo("Sign out and sign in again first: passkeys are changed within ten minutes of signing in."),
        PasskeyError::Failure(failure) => AccountError::Failure(failure),
    }
}

/// The gateway moved to an address without passkeys, and somebody asked for one at every sign-in: they stay out until an
/// operator has changed that, because a setting of the gateway is no proof of who they are.
async fn no_second(state: &WebState) -> Response {
    let url = &state.settings.public_url;
    let detail = format!(
        "You asked that a passkey ends your sign-ins, and this gateway's address, {url}, has none: browsers offer passkeys over https and on localhost only. You are not signed in. An operator can help: with `paraph reviewer set YOU@example.org --no-passkeys` a link or a password alone lets you in; or they set listen.public_url back to the address your passkey was made at."
    );
    page::problem(state, None, StatusCode::FORBIDDEN, "Your passkey cannot be asked for here", &detail).await
}

async fn none_here(state: &WebState) -> Response {
    let detail = "Browsers offer passkeys over https and on localhost only. Sign in with a link; an operator can set listen.public_url.";
    page::problem(state, None, StatusCode::NOT_FOUND, "There are no passkeys here", detail).await
}
