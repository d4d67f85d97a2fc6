//! A lost passkey: an operator takes a person's passkeys away, and with them the demand for one, so that a link or a
//! password lets the person in again. Nobody can do this for themselves from outside: it would be the second factor's
//! back door. Called by `web` for operators and by `control` for whoever has the data folder.

use crate::domain::people::{CredentialKind, Person};
use crate::gate::Gate;
use crate::gate::registrar::{Registrar, RegistrarError, again};
use crate::store::{Change, Kind, Row};
use serde_json::json;

/// Half-way sign-ins that go in the same change; each ends by itself within five minutes and opens nothing without a
/// passkey.
const HALF_WAY: usize = 40;

impl Registrar {
    /// Removes every passkey of a person and switches their second step off, in one change; how many passkeys there were.
    pub async fn remove_passkeys(&self, email: &str) -> Result<usize, RegistrarError> {
        again(None, || self.remove_passkeys_once(email)).await
    }

    async fn remove_passkeys_once(&self, email: &str) -> Result<usize, RegistrarError> {
        let gate: &Gate = &self.gate;
        let person = gate.person(email).await?;
        let passkeys = gate.passkeys_of(&person.email).await?;
        let count = passkeys.len();
        if count == 0 && !person.second_factor {
            return Ok(0);
        }
        let begun = gate.every_credential_of(&person.email, &[CredentialKind::HalfWay]).await?.into_iter().take(HALF_WAY);
        let begun = begun.map(|begun| (Kind::Credential, begun.secret.to_string()));
        let removed = passkeys.into_iter().map(|passkey| (Kind::Passkey, passkey.id)).chain(begun).collect();
        let fact = self.fact("passkey.removed", json!({ "person": person.email, "count": count }));
        let next = Person { revision: person.revision + 1, second_factor: false, ..person };
        self.write(Change { removed, ..Change::of_row(gate.clock().now(), Row::Person(next), fact) }).await?;
        Ok(count)
    }
}
