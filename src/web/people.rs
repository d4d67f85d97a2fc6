//! `/people`: everybody with their rights, rules that ask for people who are not there, and the form that adds
//! somebody. Operators change, auditors read. One person has a page of their own, in `person`.

use super::WebState;
use super::call_page::Banner;
use super::form::Submitted;
use super::moment::Moment;
use super::office::{self, Refused};
use super::page::{self, Frame};
use super::session::SignedIn;
use super::shown::Shown;
use crate::domain::people::{Gap, Role};
use crate::gate::people::{ListedPerson, MAX_NAME};
use crate::gate::registrar::RegistrarError;
use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use jiff::Timestamp;

/// The roles in a form.
pub const ROLES: [(Role, &str); 3] = [
    (Role::Reviewer, "Reviewer: decides for their groups"),
    (Role::Operator, "Operator: decides everything, manages agents and people"),
    (Role::Auditor, "Auditor: reads everything, decides nothing"),
];

/// One row.
struct Line {
    id: String,
    name: Option<Shown>,
    email: Shown,
    role: &'static str,
    groups: Vec<Shown>,
    disabled: bool,
    seen: Option<Moment>,
    sessions: usize,
}

/// A rule that asks for people who are not there.
struct Lack {
    server: String,
    gap: Gap,
}

/// What somebody wrote into the form.
#[derive(Default)]
struct Typed {
    email: String,
    name: String,
    groups: String,
    role: String,
}

#[derive(Template)]
#[template(path = "people.html")]
struct People {
    frame: Frame,
    banner: Option<Banner>,
    lines: Vec<Line>,
    lacks: Vec<Lack>,
    roles: Vec<(&'static str, &'static str)>,
    typed: Typed,
    most: usize,
}

/// `GET /people`
pub async fn show(by: SignedIn, State(state): State<WebState>) -> Response {
    answer(&state, &by, StatusCode::OK, None, Typed::default()).await
}

/// `POST /people`
pub async fn add(State(state): State<WebState>, form: Submitted) -> Response {
    match added(&form).await {
        Ok(id) => Redirect::to(&format!("/people/{id}")).into_response(),
        Err(refused) => match refused.banner(&state, &form.by).await {
            Ok((status, banner)) => {
                let typed = |name: &str| form.field(name).to_owned();
                let typed = Typed { email: typed("email"), name: typed("name"), groups: typed("groups"), role: typed("role") };
                answer(&state, &form.by, status, Some(banner), typed).await
            }
            Err(response) => response,
        },
    }
}

async fn added(form: &Submitted) -> Result<String, Refused> {
    let registrar = form.by.reviewer.registrar()?;
    let role = role(form.field("role"))?;
    if role == Role::Operator {
        office::needs_fresh(&form.by).await?;
    }
    let person = registrar.add_person(form.field("email"), Some(form.field("name").to_owned()), office::listed(form.field("groups")), role).await?;
    Ok(person.id())
}

/// The role of this word.
pub fn role(word: &str) -> Result<Role, Refused> {
    ROLES.iter().map(|(role, _)| *role).find(|role| role.word() == word).ok_or_else(|| Refused::wrong("A role is reviewer, operator or auditor."))
}

async fn answer(state: &WebState, by: &SignedIn, status: StatusCode, banner: Option<Banner>, typed: Typed) -> Response {
    match list(state, by, banner, typed).await {
        Ok(people) => page::html(state, status, &people),
        Err(refused) => refused.page(state, by).await,
    }
}

async fn list(state: &WebState, by: &SignedIn, banner: Option<Banner>, typed: Typed) -> Result<People, Refused> {
    if !by.reviewer.may_oversee() {
        return Err(RegistrarError::NotOperator.into());
    }
    let now = state.gate.clock().now();
    let lines = by.reviewer.people().await?.into_iter().map(|listed| line(listed, now)).collect();
    let lacks = state.gate.gaps().await?.into_iter().map(|(server, gap)| Lack { server, gap }).collect();
    let roles = ROLES.iter().map(|(role, words)| (role.word(), *words)).collect();
    Ok(People { frame: Frame::new(state, Some(by), "people").await, banner, lines, lacks, roles, typed, most: MAX_NAME })
}

fn line(listed: ListedPerson, now: Timestamp) -> Line {
    let person = listed.person;
    Line {
        id: person.id(),
        name: person.name.as_deref().map(Shown::new),
        email: Shown::new(&person.email),
        role: person.role.word(),
        groups: office::shown(&person.groups),
        disabled: person.disabled_at.is_some(),
        seen: listed.seen_at.map(|at| Moment::new(at, now)),
        sessions: listed.sessions,
    }
}
