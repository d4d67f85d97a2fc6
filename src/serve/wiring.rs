//! From the configuration to what each part is told of it: gate, MCP edge, pages.
//! Called by `serve::start` and by `reload`, so that both mean the same by a key.

use crate::config::{Config, MailTransport, Standing};
use crate::domain::door::Door;
use crate::gate::{ServerSettings, Settings};
use crate::mcp::{McpSettings, SessionKey};
use crate::web::WebSettings;
use std::collections::BTreeMap;

pub(super) fn mcp_settings(config: &Config, door: Door, session_key: SessionKey) -> McpSettings {
    McpSettings {
        servers: methods_of(config),
        body: config.bounds.body,
        arguments: config.bounds.arguments,
        sessions_per_agent: config.bounds.sessions_per_agent,
        session_key,
        door,
    }
}

/// Every server's further methods.
pub(super) fn methods_of(config: &Config) -> BTreeMap<String, Vec<String>> {
    config.servers.iter().map(|(name, server)| (name.clone(), server.methods.clone())).collect()
}

pub(super) fn web_settings(config: &Config, door: Door, public_url: &str, standing: Standing) -> WebSettings {
    WebSettings {
        public_url: public_url.to_owned(),
        door,
        live_pages: config.bounds.live_pages,
        body: config.bounds.body,
        // Consent to something that does not happen is no news to anybody.
        insecure_http: config.listen.insecure_http && !config.listen.is_encrypted(),
        version: env!("CARGO_PKG_VERSION"),
        standing,
    }
}

pub(super) fn settings_of(config: &Config) -> Settings {
    let servers = config
        .servers
        .iter()
        .map(|(name, server)| (name.clone(), ServerSettings { policy: server.policy.clone(), messages: server.messages.clone() }))
        .collect();
    let letters = config.mail.transport != MailTransport::Off;
    let mut hold = config.hold.clone();
    if letters {
        // A held call writes one letter, so the smaller of the two bounds is the one that holds.
        hold.max_held = hold.max_held.min(config.bounds.outbox);
    }
    Settings {
        hold,
        servers,
        audit_queue: config.bounds.audit_queue,
        in_flight_per_server: config.bounds.in_flight_per_server,
        letters,
        sign_in: config.sign_in.clone(),
        keep_text: config.store.keep_text,
        limit_keys: config.bounds.limit_keys,
        mask: config.mask.clone(),
        arguments: config.bounds.arguments,
    }
}
