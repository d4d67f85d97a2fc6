//! `[sign_in]`: whether passwords let in, and how long a session lasts. Read by `Config::parse`; a reload can change all of
//! it, also for the sessions that are open.

use super::read::Section;
use super::sections::{TABLE, set};
use super::source::Source;
use crate::domain::sign_in::SignInSettings;
use std::time::Duration;

const SHORTEST: Duration = Duration::from_secs(300);
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

pub(super) fn sign_in(file: &mut Section<'_>, source: &mut Source<'_>) -> SignInSettings {
    let mut sign_in = SignInSettings::default();
    let Some(mut section) = file.take(source, "sign_in").and_then(|node| node.section(source, TABLE)) else { return sign_in };
    if let Some(node) = section.take(source, "passwords") {
        set(&mut sign_in.passwords, node.flag(source));
    }
    for (name, place) in [("session", &mut sign_in.session), ("idle", &mut sign_in.idle)] {
        if let Some(node) = section.take(source, name) {
            set(place, node.time(source, SHORTEST, LONGEST));
        }
    }
    section.finish(source);
    sign_in
}
