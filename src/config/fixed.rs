//! What a running gateway cannot change: comparing the configuration that runs with one that was read later.
//! `[listen]` and `[store]` stop a reload; a server's transport and a few bounds stay as they are until a restart, and
//! the rest is applied (contract.md 2, semantics.md 28). Called by `reload`.

use super::{Bounds, Config, Listen, Loaded, Mistake, Server, StoreConfig, Tls, Transport};

impl Loaded {
    /// What stops this configuration from being applied to a gateway that runs with `running`: nothing of it may be.
    pub fn stopped_by(&self, running: &Config) -> Vec<Mistake> {
        let keys = listen(&running.listen, &self.config.listen).into_iter().chain(store(&running.store, &self.config.store));
        let problem = "was changed, and only a restart can change it; nothing of this file is applied";
        let mut mistakes: Vec<Mistake> = keys.map(|key| self.places.warning(key, problem, "Restart the gateway, or change it back.")).collect();
        mistakes.sort_by_key(|mistake| mistake.line);
        mistakes
    }

    /// Puts back what must stay as it runs, and names it; everything else may be applied.
    pub fn keep_what_runs(&mut self, running: &Config) -> Vec<Mistake> {
        let mut keys = bounds(&running.bounds, &mut self.config.bounds);
        for (name, server) in &mut self.config.servers {
            if let Some(before) = running.servers.get(name) {
                keys.extend(transport(before, server).into_iter().map(|key| format!("servers.{name}.{key}")));
            }
        }
        let problem = "was changed and waits for a restart; the rest of the file is applied";
        let mut waiting: Vec<Mistake> = keys.iter().map(|key| self.places.warning(key, problem, "Restart the gateway when it suits you.")).collect();
        waiting.sort_by_key(|mistake| mistake.line);
        waiting
    }
}

// Taken apart member by member: whoever adds one has to say here whether it can change.

fn listen(before: &Listen, after: &Listen) -> Vec<&'static str> {
    let Listen { address, public_url, hosts, metrics, insecure_http, trusted_proxies, tls } = before;
    // What the two files hold may change at any time; renewals do that.
    let files = |listen: &Option<Tls>| listen.as_ref().map(|tls| (tls.cert.clone(), tls.key.clone()));
    named([
        ("listen.address", *address != after.address),
        ("listen.public_url", *public_url != after.public_url),
        ("listen.hosts", *hosts != after.hosts),
        ("listen.metrics", *metrics != after.metrics),
        ("listen.insecure_http", *insecure_http != after.insecure_http),
        ("listen.trusted_proxies", *trusted_proxies != after.trusted_proxies),
        ("listen.tls", files(tls) != files(&after.tls)),
    ])
}

fn store(before: &StoreConfig, after: &StoreConfig) -> Vec<&'static str> {
    let StoreConfig { path, keep_text, min_free, ballast } = before;
    named([
        ("store.path", *path != after.path),
        ("store.keep_text", *keep_text != after.keep_text),
        ("store.min_free", *min_free != after.min_free),
        ("store.ballast", *ballast != after.ballast),
    ])
}

/// Queues and doors are made once, as large as they are; the other bounds are looked up.
fn bounds(before: &Bounds, after: &mut Bounds) -> Vec<String> {
    let Bounds {
        live_pages,
        audit_queue,
        in_flight_per_server,
        connections,
        connections_per_address,
        body: _,
        arguments: _,
        result: _,
        sessions_per_agent: _,
        outbox: _,
        limit_keys: _,
    } = *before;
    let changed = named([
        ("bounds.live_pages", live_pages != after.live_pages),
        ("bounds.audit_queue", audit_queue != after.audit_queue),
        ("bounds.in_flight_per_server", in_flight_per_server != after.in_flight_per_server),
        ("bounds.connections", connections != after.connections),
        ("bounds.connections_per_address", connections_per_address != after.connections_per_address),
    ]);
    *after = Bounds { live_pages, audit_queue, in_flight_per_server, connections, connections_per_address, ..after.clone() };
    changed.into_iter().map(str::to_owned).collect()
}

fn transport(before: &Server, after: &mut Server) -> Vec<&'static str> {
    let changed = match (&before.transport, &after.transport) {
        (Transport::Process { command, env, cwd, env_clear }, Transport::Process { command: its, env: its_env, cwd: its_cwd, env_clear: its_clear }) => {
            named([("command", command != its), ("env", env != its_env), ("cwd", cwd != its_cwd), ("env_clear", env_clear != its_clear)])
        }
        (Transport::Http { url, headers }, Transport::Http { url: its, headers: its_headers }) => {
            named([("url", url != its), ("headers", headers != its_headers)])
        }
        (Transport::Http { .. }, Transport::Process { .. }) => vec!["command"],
        (Transport::Process { .. }, Transport::Http { .. }) => vec!["url"],
    };
    after.transport.clone_from(&before.transport);
    changed
}

fn named<const N: usize>(keys: [(&'static str, bool); N]) -> Vec<&'static str> {
    keys.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
}
