//! Whether the limits of a call have room for it now, from the running gateway or from the store. Nothing is taken.
//! Called by `explain`.

use crate::config::Config;
use crate::control::{Answer, Request, ask};
use crate::domain::limit::{Charge, Counter, ONE};
use crate::domain::policy::{Action, Judgement};
use crate::domain::quantity::write_time;
use jiff::Timestamp;
use serde_json::{Value, json};

/// What is known of the counters.
pub(super) enum Counted {
    /// There is no data folder, or it could not be read: why.
    Unknown(&'static str),
    /// As they stood.
    Known { counters: Vec<Counter>, restored_at: Option<Timestamp> },
}

/// Asks for the counters of a verdict.
pub(super) async fn counted(config: &Config, judgement: &Judgement) -> Counted {
    if !config.store.path.exists() {
        return Counted::Unknown("nothing was counted yet: there is no data folder");
    }
    let keys = judgement.charges.iter().map(|charge| charge.key.clone()).collect();
    match Box::pin(ask(config, Request::Counters { keys })).await.map(|response| response.answer) {
        Ok(Answer::Counters { counters, restored_at }) => Counted::Known { counters, restored_at },
        Ok(_) | Err(_) => Counted::Unknown("the data folder could not be asked"),
    }
}

/// One limit as it is told. The scope's value is left out: it may be an address.
pub(super) fn view(charge: &Charge, action: Action, counted: &Counted, now: Timestamp) -> Value {
    let mut view = json!({
        "limit": charge.name, "counter": charge.label.counter, "scope": charge.label.scope, "window": write_time(charge.window),
        "max": units(charge.max), "takes": units(charge.amount), "room": null, "room_at": null,
    });
    if let Counted::Known { counters, restored_at } = counted {
        let counter = counters.iter().find(|counter| counter.key == charge.key).cloned().unwrap_or_else(|| Counter::of(charge));
        let asked = counter.asked.room_at(now, charge.window, charge.max, charge.amount);
        // A held call is asked for now; what is sent counts when it leaves.
        let sent = if action == Action::Allow { counter.sent.room_at(now, charge.window, charge.max, charge.amount) } else { now };
        let restored = restored_at.map_or(now, |at| (at + charge.window).max(now));
        let free = asked.max(sent).max(restored);
        view["room"] = json!(free <= now);
        view["room_at"] = if free <= now { Value::Null } else { json!(free) };
    }
    view
}

/// The line of a limit.
pub(super) fn line(view: &Value, counted: &Counted) -> String {
    let room = match (counted, view["room"].as_bool()) {
        (Counted::Unknown(why), _) => (*why).to_owned(),
        (Counted::Known { .. }, Some(true)) => "there is room".to_owned(),
        (Counted::Known { .. }, _) => format!("no room before {}", view["room_at"].as_str().unwrap_or("a restart")),
    };
    let text = |key: &str| view[key].as_str().unwrap_or_default().to_owned();
    format!("{}: takes {} of {} in {} ({}); {room}", text("limit"), view["takes"], view["max"], text("window"), text("scope"))
}

/// Millionths as the operator wrote them.
fn units(millionths: u64) -> Value {
    if millionths.is_multiple_of(ONE) {
        return json!(millionths / ONE);
    }
    let text = format!("{}.{:06}", millionths / ONE, millionths % ONE);
    text.parse::<f64>().map_or(Value::Null, Value::from)
}
