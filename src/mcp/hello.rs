//! `initialize`: agrees on a revision, starts the server's instance with what the client said of itself, and
//! answers with the server's own hello. Only the revision is ours in it, and `capabilities.tasks` is taken out
//! because tasks do not pass yet. Called by `http`.

use super::error::Refusal;
use super::message::{Id, look_alike, string};
use super::revisions::Revision;
use super::upstream::ClientHello;
use super::upstream::wire::{Members, quoted, raw};
use serde_json::value::RawValue;

/// What the client asks for.
pub(super) struct Asked {
    pub revision: Revision,
    pub client: ClientHello,
}

/// Reads the params of `initialize`.
pub(super) fn read(id: &Id, params: Option<&RawValue>) -> Result<Asked, Refusal> {
    let refuse = |what: &str, at: &str| Refusal::call(-32602, what).at(at).of(Some(id));
    let Some(params) = params.and_then(|params| Members::read(params.get())) else {
        return Err(refuse("initialize needs params with protocolVersion, capabilities and clientInfo", "/params"));
    };
    if let Some(name) = look_alike(&params, &["protocolVersion", "capabilities", "clientInfo", "_meta"]) {
        return Err(refuse(&format!("a member of params differs from \"{name}\" only in case"), "/params"));
    }
    let Some(asked) = params.get("protocolVersion").and_then(string) else {
        return Err(refuse("protocolVersion must be a string", "/params/protocolVersion"));
    };
    let object = |name: &str| match params.get(name) {
        None => Ok(raw("{}".to_owned())),
        Some(value) if value.get().starts_with('{') => Ok(value.to_owned()),
        Some(_) => Err(refuse(&format!("{name} must be an object"), &format!("/params/{name}"))),
    };
    let revision = Revision::negotiate(&asked);
    let mut client = ClientHello { capabilities: object("capabilities")?, client_info: object("clientInfo")? };
    if !revision.elicits()
        && let Some(capabilities) = Members::read(client.capabilities.get()).filter(|capabilities| capabilities.get("elicitation").is_some())
    {
        client.capabilities = raw(capabilities.with("elicitation", None));
    }
    Ok(Asked { revision, client })
}

/// The server's hello as this agent gets it.
pub(super) fn answer(hello: &RawValue, revision: Revision) -> String {
    let Some(members) = Members::read(hello.get()) else { return hello.get().to_owned() };
    let named = members.with("protocolVersion", Some(&quoted(revision.name())));
    let offered = members.get("capabilities").and_then(|capabilities| Members::read(capabilities.get()));
    match (offered.filter(|offered| offered.get("tasks").is_some()), Members::read(&named)) {
        (Some(offered), Some(members)) => members.with("capabilities", Some(&offered.with("tasks", None))),
        _ => named,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_hears_of_elicitation_only_where_the_revision_has_it() {
        let id = Id { raw: "1".to_owned(), key: "1".to_owned() };
        for (revision, capabilities) in [("2025-03-26", r#"{"roots":{ }}"#), ("2025-06-18", r#"{"elicitation":{},"roots":{ }}"#)] {
            let params = raw(format!(r#"{{"protocolVersion":"{revision}","capabilities":{{"elicitation":{{}},"roots":{{ }}}}}}"#));
            let asked = read(&id, Some(&params)).unwrap();
            assert_eq!((asked.revision.name(), asked.client.capabilities.get()), (revision, capabilities));
        }
    }

    #[test]
    fn only_the_revision_and_tasks_change_in_a_hello() {
        let hello = raw(r#"{"protocolVersion":"2024-11-05","capabilities":{"tools":{ },"x/y":1.10},"serverInfo":{"name":"s"},"more":[1]}"#.to_owned());
        assert_eq!(
            answer(&hello, Revision::V2025_06_18),
            r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{ },"x/y":1.10},"serverInfo":{"name":"s"},"more":[1]}"#
        );
        let hello = raw(r#"{"protocolVersion":"2025-11-25","capabilities":{"tasks":{"list":{}},"tools":{ }}}"#.to_owned());
        assert_eq!(answer(&hello, Revision::V2025_11_25), r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{ }}}"#);
    }
}
