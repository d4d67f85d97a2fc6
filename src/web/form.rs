//! Forms of signed-in people: bounded, and only with the form token that the page of the same session carried
//! (CSRF). The token is compared in constant time. Used by every action; `Fields` is for those who sign in.

use super::received::{self, Unread};
use super::session::SignedIn;
use super::{WebState, page};
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::response::Response;
use subtle::ConstantTimeEq as _;

/// Bytes of a form.
const MAX_FORM: usize = 512 * 1024;
/// Bytes of a form that anybody may send.
const MAX_OPEN_FORM: usize = 16 * 1024;

/// A form that nobody has to be signed in for. The Origin check of `door` is all that stands before it.
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// A field's value; empty when it is missing.
    pub fn field(&self, name: &str) -> &str {
        field(&self.0, name)
    }
}

impl FromRequest<WebState> for Fields {
    type Rejection = Response;

    async fn from_request(request: Request, state: &WebState) -> Result<Fields, Response> {
        match received::whole(request.into_body(), MAX_OPEN_FORM).await {
            Ok(body) => Ok(Fields(fields(&body))),
            Err(why) => {
                let (status, title, detail) = told(why, "Nothing was changed. This form may have 16 KiB; open the page again and send it as it is.");
                Err(page::problem(state, None, status, title, detail).await)
            }
        }
    }
}

/// Why a form was not taken; `large` is what to do about one that is too large.
fn told(why: Unread, large: &'static str) -> (StatusCode, &'static str, &'static str) {
    match why {
        Unread::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "The form is too large", large),
        Unread::BrokenOff => {
            (StatusCode::REQUEST_TIMEOUT, "The form did not arrive whole", "Nothing was changed. The connection is slow or broke off; send the form again.")
        }
    }
}

fn field<'a>(fields: &'a [(String, String)], name: &str) -> &'a str {
    fields.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
}

/// A form whose token was right, and who sent it.
pub struct Submitted {
    /// Who.
    pub by: SignedIn,
    fields: Vec<(String, String)>,
}

impl Submitted {
    /// A field's value; empty when it is missing.
    pub fn field(&self, name: &str) -> &str {
        field(&self.fields, name)
    }

    /// A field's value, when the form has the field.
    pub fn given(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a field that may be there several times, without empty ones.
    pub fn all(&self, name: &str) -> Vec<String> {
        self.fields.iter().filter(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.clone()).collect()
    }

    /// What the person wrote, so that a refused form does not lose it.
    pub fn typed(&self) -> &str {
        let reason = self.field("reason");
        if reason.is_empty() { self.field("note") } else { reason }
    }
}

impl FromRequest<WebState> for Submitted {
    type Rejection = Response;

    async fn from_request(request: Request, state: &WebState) -> Result<Submitted, Response> {
        let (mut parts, body) = request.into_parts();
        let by = SignedIn::from_request_parts(&mut parts, state).await?;
        let body = match received::whole(body, MAX_FORM).await {
            Ok(body) => body,
            Err(why) => {
                let (status, title, detail) = told(why, "Nothing was changed. A form may have 512 KiB; shorten what you wrote.");
                return Err(page::problem(state, Some(&by), status, title, detail).await);
            }
        };
        let fields = fields(&body);
        let submitted = Submitted { by, fields };
        let expected = submitted.by.form_token();
        if bool::from(expected.as_bytes().ct_eq(submitted.field("csrf").as_bytes())) {
            Ok(submitted)
        } else {
            let (title, detail) =
                ("This form is out of date", "Nothing was changed. It belongs to another session; open the page again and repeat what you did.");
            Err(page::problem(state, Some(&submitted.by), StatusCode::FORBIDDEN, title, detail).await)
        }
    }
}

/// `application/x-www-form-urlencoded` (URL Standard 5.1).
fn fields(body: &Bytes) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(body);
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decoded(key), decoded(value)))
        .collect()
}

fn decoded(text: &str) -> String {
    String::from_utf8_lossy(&octets(text)).into_owned()
}

/// The bytes behind the percent signs (URL Standard 1.3).
pub fn octets(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = (byte == b'%').then(|| text.get(at + 1..at + 3)).flatten().and_then(|two| u8::from_str_radix(two, 16).ok());
        match (byte, hex) {
            (_, Some(value)) => {
                out.push(value);
                at += 3;
                continue;
            }
            (b'+', None) => out.push(b' '),
            (other, None) => out.push(other),
        }
        at += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form_fields_are_decoded_whole() {
        let read = fields(&Bytes::from_static("a=1+2%2B3&reason=%C3%A4%0D%0A%26&%zz=%e&b".as_bytes()));
        let expected = [("a", "1 2+3"), ("reason", "\u{e4}\r\n&"), ("%zz", "%e"), ("b", "")];
        assert_eq!(read, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
}
