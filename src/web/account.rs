//! `/account`: what a person has here and what they may change about it: mails, password, sessions, API tokens. Each section
//! is a template of its own (`templates/account/`), each action a plain form with the token of the session. What went wrong
//! stands above the page, which shows the account as it is. Used by everybody who is signed in.

use super::WebState;
use super::arrival::Arriving;
use super::call_page::Banner;
use super::form::Submitted;
use super::moment::Moment;
use super::page::{self, Frame};
use super::passkeys;
use super::session::SignedIn;
use super::shown::Shown;
use super::sign_in;
use crate::domain::people::{Credential, MailChoice, SignInMethod};
use crate::gate::Failure;
use crate::gate::account::{AccountError, LEAST_PASSWORD, MOST_PASSWORD, TOKEN_DAYS, TOKEN_NAME};
use crate::gate::signin::Refused;
use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use jiff::Timestamp;
use serde::Deserialize;

#[derive(Template)]
#[template(path = "account.html")]
struct Page {
    frame: Frame,
    banner: Option<Banner>,
    /// What was just done.
    done: Option<&'static str>,
    name: Option<Shown>,
    email: String,
    role: &'static str,
    groups: Vec<Shown>,
    mail: MailChoice,
    mail_on: bool,
    passwords: bool,
    password: Option<Moment>,
    fresh: bool,
    least: usize,
    most: usize,
    passkeys: passkeys::Section,
    sessions: Vec<Session>,
    session_for: String,
    idle_for: String,
    tokens: Vec<Token>,
    /// A token that was just made; it is shown this once.
    new_token: Option<String>,
    token_name: usize,
    token_days: u64,
}

struct Session {
    id: String,
    this: bool,
    label: Shown,
    how: &'static str,
    made: Moment,
    used: Option<Moment>,
}

struct Token {
    id: String,
    name: Shown,
    made: Moment,
    used: Option<Moment>,
    ends: Moment,
}

#[derive(Debug, Deserialize)]
pub struct Wanted {
    #[serde(default)]
    done: String,
}

/// `GET /account?done=…`
pub async fn show(by: SignedIn, State(state): State<WebState>, wanted: Result<Query<Wanted>, QueryRejection>) -> Response {
    let Ok(Query(wanted)) = wanted else { return page::wrong_query(&state, &by).await };
    let done = match wanted.done.as_str() {
        "mail" => Some("Your choice is kept."),
        "password" => Some("Your password is set. Every other session of yours has ended."),
        "no-password" => Some("Your password is removed."),
        "passkey" => Some("The passkey is yours now."),
        "no-passkey" => Some("The passkey is removed."),
        "second-factor" => Some("From now on your sign-ins end as you chose."),
        "session" => Some("The session has ended."),
        "token" => Some("The token has ended."),
        _ => None,
    };
    answer(&state, &by, StatusCode::OK, None, done, None).await
}

/// `POST /account/mail`
pub async fn choose_mail(State(state): State<WebState>, form: Submitted) -> Response {
    let mail = match form.field("mail") {
        "each" => MailChoice::Each,
        "digest" => MailChoice::Digest,
        "off" => MailChoice::Off,
        _ => return refused(&state, &form.by, AccountError::NotSo("Choose one of the three.")).await,
    };
    done(&state, &form.by, form.by.reviewer.choose_mail(mail).await, "mail").await
}

/// `POST /account/password`
pub async fn set_password(State(state): State<WebState>, Arriving(arrival): Arriving, form: Submitted) -> Response {
    let (by, new) = (&form.by, form.field("new"));
    if new != form.field("again") {
        return refused(&state, by, AccountError::NotSo("The two new passwords differ. Nothing was changed.")).await;
    }
    let set = Box::pin(by.reviewer.set_password(&by.secret, form.field("old"), new.to_owned(), &arrival)).await;
    done(&state, by, set.map(drop), "password").await
}

/// `POST /account/password/remove`
pub async fn remove_password(State(state): State<WebState>, Arriving(arrival): Arriving, form: Submitted) -> Response {
    let by = &form.by;
    let removed = Box::pin(by.reviewer.remove_password(&by.secret, form.field("old"), &arrival)).await;
    done(&state, by, removed, "no-password").await
}

/// `POST /account/sessions/end`
pub async fn end_session(State(state): State<WebState>, form: Submitted) -> Response {
    done(&state, &form.by, form.by.reviewer.end_session(form.field("id")).await, "session").await
}

/// `POST /account/sign-out`: everywhere.
pub async fn sign_out_everywhere(State(state): State<WebState>, form: Submitted) -> Response {
    match form.by.reviewer.sign_out_everywhere().await {
        Ok(()) => sign_in::ended(&state).await,
        Err(error) => refused(&state, &form.by, error).await,
    }
}

/// `POST /account/tokens`: the answer shows the token, once.
pub async fn make_token(State(state): State<WebState>, Arriving(arrival): Arriving, form: Submitted) -> Response {
    let (by, days) = (&form.by, form.field("days").parse().unwrap_or(0));
    match Box::pin(by.reviewer.make_token(&by.secret, form.field("old"), &arrival, form.field("name"), days)).await {
        Ok(token) => answer(&state, &form.by, StatusCode::OK, None, None, Some(token)).await,
        Err(error) => refused(&state, &form.by, error).await,
    }
}

/// `POST /account/tokens/revoke`
pub async fn revoke_token(State(state): State<WebState>, form: Submitted) -> Response {
    done(&state, &form.by, form.by.reviewer.revoke_token(form.field("id")).await, "token").await
}

pub async fn done(state: &WebState, by: &SignedIn, result: Result<(), AccountError>, what: &str) -> Response {
    match result {
        Ok(()) => Redirect::to(&format!("/account?done={what}")).into_response(),
        Err(error) => refused(state, by, error).await,
    }
}

async fn refused(state: &WebState, by: &SignedIn, error: AccountError) -> Response {
    let mut retry = None;
    let (status, detail) = match error {
        AccountError::Failure(failure) | AccountError::Password(Refused::Failure(failure)) => return page::failure(state, Some(by), &failure),
        AccountError::NotSo(why) => (StatusCode::UNPROCESSABLE_ENTITY, why.to_owned()),
        AccountError::Password(Refused::Wrong) => (StatusCode::UNPROCESSABLE_ENTITY, "The old password is not right. Nothing was changed.".into()),
        AccountError::Password(Refused::Off) => (StatusCode::FORBIDDEN, "The operator has switched passwords off. Nothing was changed.".into()),
        AccountError::Password(Refused::TooMany { until }) => {
            let (wait, seconds) = sign_in::wait(until, state.gate.clock().now());
            retry = Some(seconds);
            (
                StatusCode::TOO_MANY_REQUESTS,
                format!("The old password was wrong too often. Nothing was changed; try again in {wait}, or sign in anew with a link."),
            )
        }
        AccountError::Password(Refused::Busy) => {
            retry = Some(5);
            (StatusCode::SERVICE_UNAVAILABLE, "Many passwords are being checked. Nothing was changed; try again in a few seconds.".into())
        }
    };
    let banner = Banner { title: "This was not done".into(), detail };
    let mut response = answer(state, by, status, Some(banner), None, None).await;
    if let Some(seconds) = retry {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

async fn answer(
    state: &WebState,
    by: &SignedIn,
    status: StatusCode,
    banner: Option<Banner>,
    done: Option<&'static str>,
    new_token: Option<String>,
) -> Response {
    match account(state, by, banner, done, new_token).await {
        Ok(page) => page::html(state, status, &page),
        Err(failure) => page::failure(state, Some(by), &failure),
    }
}

async fn account(state: &WebState, by: &SignedIn, banner: Option<Banner>, done: Option<&'static str>, new_token: Option<String>) -> Result<Page, Failure> {
    let (now, settings) = (state.gate.clock().now(), state.gate.settings());
    // Read anew: an action of the same request may have changed it.
    let person = state.gate.by_session(&by.secret).await?.map_or_else(|| by.reviewer.person().clone(), |reviewer| reviewer.person().clone());
    let account = by.reviewer.account(&by.secret).await?;
    Ok(Page {
        frame: Frame::new(state, Some(by), "account").await,
        banner,
        done,
        name: person.name.as_deref().map(Shown::new),
        email: person.email.clone(),
        role: person.role.word(),
        groups: person.groups.iter().map(|group| Shown::new(group)).collect(),
        mail: person.mail,
        mail_on: settings.letters,
        passwords: settings.sign_in.passwords,
        password: account.password.map(|at| Moment::new(at, now)),
        fresh: account.fresh,
        passkeys: passkeys::section(state, by, account.fresh, person.second_factor, now).await?,
        least: LEAST_PASSWORD,
        most: MOST_PASSWORD,
        sessions: account.sessions.iter().map(|(this, session)| Session::of(*this, session, now)).collect(),
        session_for: super::moment::span(settings.sign_in.session.as_secs()),
        idle_for: super::moment::span(settings.sign_in.idle.as_secs()),
        tokens: account.tokens.iter().map(|token| Token::of(token, now)).collect(),
        new_token,
        token_name: TOKEN_NAME,
        token_days: TOKEN_DAYS,
    })
}

impl Session {
    fn of(this: bool, session: &Credential, now: Timestamp) -> Session {
        Session {
            id: session.id().to_owned(),
            this,
            label: Shown::new(session.label.as_deref().unwrap_or("A browser")),
            how: session.method.map_or("a link", how),
            made: Moment::new(session.made_at, now),
            used: session.used_at.map(|at| Moment::new(at, now)),
        }
    }
}

fn how(method: SignInMethod) -> &'static str {
    match method {
        SignInMethod::Link => "a link",
        SignInMethod::Password => "a password",
        SignInMethod::Passkey => "a passkey",
        SignInMethod::SecondFactor => "a passkey as the second step",
    }
}

impl Token {
    fn of(token: &Credential, now: Timestamp) -> Token {
        Token {
            id: token.id().to_owned(),
            name: Shown::new(token.label.as_deref().unwrap_or("without a name")),
            made: Moment::new(token.made_at, now),
            used: token.used_at.map(|at| Moment::new(at, now)),
            ends: Moment::new(token.expires_at, now),
        }
    }
}
