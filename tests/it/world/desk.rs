//! A reviewer's script: the JSON API with a bearer token.

use super::{http, until};
use serde_json::{Value, json};

/// One reviewer at the API.
#[derive(Clone)]
pub struct Desk {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Desk {
    pub(super) fn new(url: &str, token: &str) -> Desk {
        Desk::over(http(), url, token)
    }

    /// With another client, such as one that trusts a certificate.
    pub fn over(http: reqwest::Client, url: &str, token: &str) -> Desk {
        Desk { http, url: format!("{url}/api/v1"), token: token.to_owned() }
    }

    /// `GET` a path below `/api/v1`.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        let asked = self.http.get(format!("{}{path}", self.url)).bearer_auth(&self.token);
        read(asked).await
    }

    /// `POST` JSON to a path below `/api/v1`.
    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let asked = self.http.post(format!("{}{path}", self.url)).bearer_auth(&self.token);
        read(asked.header("content-type", "application/json").body(body.to_string())).await
    }

    /// All calls in this state.
    pub async fn calls(&self, state: &str) -> Vec<Value> {
        let (status, page) = self.get(&format!("/calls?state={state}&limit=200")).await;
        assert_eq!(status, 200, "{page}");
        page["calls"].as_array().expect("calls").clone()
    }

    /// One call, read in full.
    pub async fn call(&self, id: &str) -> Value {
        let (status, call) = self.get(&format!("/calls/{id}")).await;
        assert_eq!(status, 200, "{call}");
        call
    }

    /// Waits for a held call whose arguments contain this text.
    pub async fn held(&self, text: &str) -> Value {
        let found = until(&format!("a held call with {text:?}"), || async {
            self.calls("held").await.into_iter().find(|call| call["arguments"].to_string().contains(text))
        })
        .await;
        self.call(found["id"].as_str().expect("an id")).await
    }

    /// Waits until the call is in one of these states.
    pub async fn settled(&self, id: &str, states: &[&str]) -> Value {
        until(&format!("{id} is one of {states:?}"), || async {
            let call = self.call(id).await;
            states.contains(&call["state"].as_str()?).then_some(call)
        })
        .await
    }

    /// Decides what was read; the answer's status and body.
    pub async fn decide(&self, call: &Value, verdict: &str, reason: Option<&str>) -> (u16, Value) {
        let id = call["id"].as_str().expect("an id");
        let mut decision = json!({"verdict": verdict, "digest": call["digest"], "version": call["version"]});
        if let Some(reason) = reason {
            decision["reason"] = json!(reason);
        }
        self.post(&format!("/calls/{id}/decision"), &decision).await
    }

    /// Approves what was read, which must be accepted.
    pub async fn approve(&self, call: &Value) {
        let (status, body) = self.decide(call, "approve", None).await;
        assert_eq!(status, 200, "{body}");
    }

    /// Rejects what was read, which must be accepted.
    pub async fn reject(&self, call: &Value, reason: &str) {
        let (status, body) = self.decide(call, "reject", Some(reason)).await;
        assert_eq!(status, 200, "{body}");
    }
}

async fn read(asked: reqwest::RequestBuilder) -> (u16, Value) {
    let answer = asked.send().await.expect("the API answers");
    let status = answer.status().as_u16();
    let body = answer.bytes().await.expect("a body");
    (status, serde_json::from_slice(&body).unwrap_or_else(|_| json!(String::from_utf8_lossy(&body))))
}
