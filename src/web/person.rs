//! `/people/{id}`: one person. What they may do and how they get in, with a form for each change; what a change takes
//! along stands beside its button. The address stands on the page and not in the page's address.

use super::WebState;
use super::call_page::Banner;
use super::form::Submitted;
use super::moment::Moment;
use super::office::{self, Refused};
use super::page::{self, Frame};
use super::people::{self, ROLES};
use super::session::SignedIn;
use super::shown::Shown;
use crate::domain::call::Verdict;
use crate::domain::people::Role;
use crate::gate::people::{ListedPerson, MAX_NAME, PersonEdit};
use crate::gate::registrar::RegistrarError;
use crate::gate::{Failure, Query};
use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};

/// Calls looked at for approvals of one person; there may be more.
const LOOKED_AT: usize = 100;

/// An API token.
struct Token {
    id: String,
    name: Option<Shown>,
    made: Moment,
    used: Option<Moment>,
    expires: Moment,
}

#[derive(Template)]
#[template(path = "person.html")]
struct PersonPage {
    frame: Frame,
    banner: Option<Banner>,
    /// What was just done.
    done: Option<&'static str>,
    /// A link that was just made; it is shown this once.
    link: Option<String>,
    id: String,
    revision: u64,
    title: Shown,
    email: Shown,
    role: &'static str,
    groups: Vec<Shown>,
    roles: Vec<(&'static str, &'static str)>,
    typed_name: String,
    typed_groups: String,
    typed_role: String,
    most: usize,
    disabled: Option<Moment>,
    added: Moment,
    seen: Option<Moment>,
    sessions: usize,
    tokens: Vec<Token>,
    passkeys: usize,
    /// A passkey has to finish every sign-in of theirs.
    second_factor: bool,
    /// Who looks may make ways in: they signed in just now.
    fresh: bool,
    /// Their approvals of calls that have not left.
    approvals: usize,
    more: bool,
    /// Links go by mail.
    mails: bool,
    operator: bool,
}

/// What a page says besides the person.
#[derive(Default)]
struct Said {
    banner: Option<Banner>,
    done: Option<&'static str>,
    link: Option<String>,
    /// The form as somebody sent it: name, groups, role.
    typed: Option<[String; 3]>,
}

/// `GET /people/{id}`
pub async fn show(by: SignedIn, State(state): State<WebState>, Path(id): Path<String>) -> Response {
    answer(&state, &by, &id, StatusCode::OK, Said::default()).await
}

/// `POST /people/{id}`
pub async fn change(State(state): State<WebState>, Path(id): Path<String>, form: Submitted) -> Response {
    let done = async {
        let (registrar, person, role) = (form.by.reviewer.registrar()?, listed(&form.by, &id).await?.person, people::role(form.field("role"))?);
        if role == Role::Operator && person.role != Role::Operator {
            office::needs_fresh(&form.by).await?;
        }
        let email = person.email;
        let edit = PersonEdit {
            name: Some(Some(form.field("name").to_owned())),
            role: Some(role),
            groups: Some(office::listed(form.field("groups"))),
            shown: Some(revision(&form)?),
        };
        Ok(registrar.set_person(&email, edit).await.map(drop)?)
    };
    let done: Result<(), Refused> = done.await;
    match done {
        Ok(()) => Redirect::to(&format!("/people/{id}")).into_response(),
        Err(refused) => {
            let typed = ["name", "groups", "role"].map(|name| form.field(name).to_owned());
            // Who was overtaken is shown what stands there now.
            let typed = (!matches!(refused, Refused::Told(StatusCode::CONFLICT, _))).then_some(typed);
            not_done(&state, &form.by, &id, refused, typed).await
        }
    }
}

/// `POST /people/{id}/disable`
pub async fn disable(State(state): State<WebState>, Path(id): Path<String>, form: Submitted) -> Response {
    let done = async { Ok(form.by.reviewer.registrar()?.disable_person(&email(&form.by, &id).await?, Some(revision(&form)?)).await?) };
    ended(&state, &form.by, &id, done.await, Said::default()).await
}

/// `POST /people/{id}/enable`
pub async fn enable(State(state): State<WebState>, Path(id): Path<String>, form: Submitted) -> Response {
    let done = async {
        let (registrar, person) = (form.by.reviewer.registrar()?, listed(&form.by, &id).await?.person);
        if person.role == Role::Operator {
            office::needs_fresh(&form.by).await?;
        }
        Ok(registrar.enable_person(&person.email).await.map(drop)?)
    };
    let said = Said { done: Some("They may sign in again. What they had open before is gone."), ..Said::default() };
    ended(&state, &form.by, &id, done.await, said).await
}

/// `POST /people/{id}/sign-out`
pub async fn sign_out(State(state): State<WebState>, Path(id): Path<String>, form: Submitted) -> Response {
    let done = async { Ok(form.by.reviewer.registrar()?.sign_out_person(&email(&form.by, &id).await?).await.map(drop)?) };
    let said = Said { done: Some("Every session and sign-in link of theirs has ended."), ..Said::default() };
    ended(&state, &form.by, &id, done.await, said).await
}

/// `POST /people/{id}/link`
pub async fn link(State(state): State<WebState>, Path(id): Path<String>, form: Submitted) -> Response {
    let mails = state.gate.settings().letters;
    let made = async {
        let (registrar, email) = (form.by.reviewer.registrar()?, email(&form.by, &id).await?);
        if mails {
            registrar.mail_link(&email).await?;
            return Ok(Said { done: Some("A sign-in link is on its way to them by mail. It works once, for 15 minutes."), ..Said::default() });
        }
        // Unlike a mailed one, whoever reads this page is let in with it.
        office::needs_fresh(&form.by).await?;
        let secret = registrar.make_link(&email).await?;
        Ok(Said { link: Some(format!("{}/sign-in/{secret}", state.settings.public_url)), ..Said::default() })
    };
    match made.await {
        Ok(said) => ended(&state, &form.by, &id, Ok(()), said).await,
        Err(refused) => ended(&state, &form.by, &id, Err(refused), Said::default()).await,
    }
}

/// `POST /people/{id}/passkeys`
pub async fn remove_passkeys(State(state): State<WebState>, Path(id): Path<String>, form: Submitted) -> Response {
    let done = async {
        let (registrar, email) = (form.by.reviewer.registrar()?, email(&form.by, &id).await?);
        office::needs_fresh(&form.by).await?;
        Ok(registrar.remove_passkeys(&email).await.map(drop)?)
    };
    let said = Said { done: Some("Their passkeys are gone. A link or a password alone lets them in now."), ..Said::default() };
    ended(&state, &form.by, &id, done.await, said).await
}

/// `POST /people/{id}/tokens`
pub async fn revoke_token(State(state): State<WebState>, Path(id): Path<String>, form: Submitted) -> Response {
    let done = async { Ok(form.by.reviewer.registrar()?.revoke_token(&email(&form.by, &id).await?, form.field("token")).await?) };
    let said = Said { done: Some("The token counts no more."), ..Said::default() };
    ended(&state, &form.by, &id, done.await, said).await
}

async fn ended(state: &WebState, by: &SignedIn, id: &str, done: Result<(), Refused>, said: Said) -> Response {
    match done {
        Ok(()) => answer(state, by, id, StatusCode::OK, said).await,
        Err(refused) => not_done(state, by, id, refused, None).await,
    }
}

async fn not_done(state: &WebState, by: &SignedIn, id: &str, refused: Refused, typed: Option<[String; 3]>) -> Response {
    match refused.banner(state, by).await {
        Ok((status, banner)) => answer(state, by, id, status, Said { banner: Some(banner), typed, ..Said::default() }).await,
        Err(response) => response,
    }
}

async fn answer(state: &WebState, by: &SignedIn, id: &str, status: StatusCode, said: Said) -> Response {
    match one(state, by, id, said).await {
        Ok(person) => page::html(state, status, &person),
        Err(refused) => refused.page(state, by).await,
    }
}

async fn one(state: &WebState, by: &SignedIn, id: &str, said: Said) -> Result<PersonPage, Refused> {
    let ListedPerson { person, sessions, tokens, seen_at } = listed(by, id).await?;
    let now = state.gate.clock().now();
    let (approvals, more) = approvals(by, &person.email).await?;
    let of_record = || [person.name.clone().unwrap_or_default(), person.groups.join(", "), person.role.word().to_owned()];
    let [typed_name, typed_groups, typed_role] = said.typed.unwrap_or_else(of_record);
    let tokens = tokens.iter().map(|token| Token {
        id: token.id().to_owned(),
        name: token.label.as_deref().map(Shown::beginning),
        made: Moment::new(token.made_at, now),
        used: token.used_at.map(|at| Moment::new(at, now)),
        expires: Moment::new(token.expires_at, now),
    });
    Ok(PersonPage {
        frame: Frame::new(state, Some(by), "people").await,
        banner: said.banner,
        done: said.done,
        link: said.link,
        id: id.to_owned(),
        revision: person.revision,
        title: Shown::new(person.display()),
        email: Shown::new(&person.email),
        role: person.role.word(),
        groups: office::shown(&person.groups),
        roles: ROLES.iter().map(|(role, words)| (role.word(), *words)).collect(),
        typed_name,
        typed_groups,
        typed_role,
        most: MAX_NAME,
        disabled: person.disabled_at.map(|at| Moment::new(at, now)),
        added: Moment::new(person.added_at, now),
        seen: seen_at.map(|at| Moment::new(at, now)),
        sessions,
        tokens: tokens.collect(),
        passkeys: state.gate.passkeys_of(&person.email).await?.len(),
        second_factor: person.second_factor,
        fresh: by.reviewer.is_freshly_signed_in(&by.secret).await?,
        approvals,
        more,
        mails: state.gate.settings().letters,
        operator: by.reviewer.person().role == Role::Operator,
    })
}

/// What shutting this person out takes back.
async fn approvals(by: &SignedIn, email: &str) -> Result<(usize, bool), Failure> {
    let query = Query { states: vec!["held".to_owned(), "approved".to_owned()], limit: LOOKED_AT, ..Query::default() };
    let page = by.reviewer.calls(query).await?;
    let theirs = page.calls.iter().filter(|call| call.decisions.iter().any(|d| !d.void && d.by == email && d.verdict == Verdict::Approve));
    Ok((theirs.count(), page.next.is_some()))
}

async fn listed(by: &SignedIn, id: &str) -> Result<ListedPerson, Refused> {
    if !by.reviewer.may_oversee() {
        return Err(RegistrarError::NotOperator.into());
    }
    by.reviewer.people().await?.into_iter().find(|listed| listed.person.id() == id).ok_or(Refused::NotThere)
}

async fn email(by: &SignedIn, id: &str) -> Result<String, Refused> {
    Ok(listed(by, id).await?.person.email)
}

/// The revision that the form was made from.
pub fn revision(form: &Submitted) -> Result<u64, Refused> {
    form.field("revision").parse().map_err(|_| Refused::wrong("The form is not one that this page made. Open the page again."))
}
