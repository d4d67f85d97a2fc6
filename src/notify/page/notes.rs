//! The mails that are not about calls: a way in, and what operators are told about the gateway itself.
//! Nothing an agent wrote can stand in them. Called by `mail`.

use super::{Desk, Parts, utc};
use crate::domain::letter::Letter;
use crate::gate::people::LINK_FOR;
use crate::notify::shown::{Shown, of_ours};
use askama::Template;

#[derive(Template)]
#[template(path = "mail/sign_in.txt", escape = "none")]
struct SignInText<'a> {
    link: &'a str,
    host: &'a str,
    minutes: u64,
}

#[derive(Template)]
#[template(path = "mail/sign_in.html")]
struct SignInHtml<'a> {
    link: &'a str,
    host: &'a str,
    minutes: u64,
}

#[derive(Template)]
#[template(path = "mail/trouble.txt", escape = "none")]
struct TroubleText<'a> {
    title: &'a str,
    since: &'a str,
    troubles: &'a [(Shown, &'static str)],
    link: &'a str,
}

#[derive(Template)]
#[template(path = "mail/trouble.html")]
struct TroubleHtml<'a> {
    title: &'a str,
    since: &'a str,
    troubles: &'a [(Shown, &'static str)],
    link: &'a str,
}

/// A mail with a one-time link to sign in.
pub(in crate::notify) fn sign_in(secret: &str, desk: &Desk) -> Result<Parts, askama::Error> {
    let (link, minutes) = (&format!("{}/sign-in/{secret}", desk.public_url), LINK_FOR.as_secs() / 60);
    let host = desk.public_url.split_once("://").map_or(desk.public_url.as_str(), |(_, host)| host);
    let (text, html) = (SignInText { link, host, minutes }.render()?, SignInHtml { link, host, minutes }.render()?);
    Ok(Parts { subject: "Your sign-in link for Paraph".to_owned(), text, html })
}

/// A mail to operators.
pub(in crate::notify) fn troubles(letter: &Letter, desk: &Desk) -> Result<Parts, askama::Error> {
    let title = match letter.troubles.as_slice() {
        [_] => "Paraph needs an operator".to_owned(),
        troubles => format!("Paraph needs an operator: {} troubles", troubles.len()),
    };
    let subject = match letter.troubles.as_slice() {
        [one] => format!("{title}: {}", in_a_header(&one.title())),
        _ => title.clone(),
    };
    let troubles: Vec<(Shown, &'static str)> = letter.troubles.iter().map(|trouble| (of_ours(&trouble.title()), trouble.advice())).collect();
    let (title, since, link, troubles) = (title.as_str(), &utc(letter.written_at), &format!("{}/", desk.public_url), troubles.as_slice());
    let (text, html) = (TroubleText { title, since, troubles, link }.render()?, TroubleHtml { title, since, troubles, link }.render()?);
    Ok(Parts { subject, text, html })
}

/// The words of a trouble; a server's name is the operator's own, and a header takes only plain characters.
fn in_a_header(title: &str) -> String {
    title.chars().take(120).map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}
