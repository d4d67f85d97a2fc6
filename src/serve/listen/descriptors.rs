//! Room for connections among the file descriptors of the process. When strangers can take the last one, the store
//! cannot open a body file and no server can be started; so connections get what is left after a reserve.
//! Asked once by `serve`.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept for the store, servers, mail and the control socket.
const RESERVE: u64 = 1024;

/// As many connections of `wanted` as there is room for. The soft limit is raised as far as that needs and the system
/// lets us: it is low by default for programs that use `select`.
pub(super) fn room_for(wanted: usize) -> usize {
    let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
    let limit = getrlimit(Resource::Nofile);
    // `None` is no limit at all.
    let Some(soft) = limit.current else { return usize::try_from(wanted).unwrap_or(usize::MAX) };
    let needed = wanted.saturating_add(RESERVE);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    let raised = needed.min(hard);
    let soft = if raised > soft && setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum }).is_ok() { raised } else { soft };
    usize::try_from(within(soft, wanted)).unwrap_or(usize::MAX)
}

/// Of few descriptors half are kept.
fn within(soft: u64, wanted: u64) -> u64 {
    wanted.min(soft - RESERVE.min(soft / 2)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_descriptors_are_never_given_to_strangers() {
        for (soft, wanted, given) in
            [(1_000_000, 20_000, 20_000), (21_024, 20_000, 20_000), (20_000, 20_000, 18_976), (1024, 20_000, 512), (64, 20_000, 32), (1, 9, 1)]
        {
            assert_eq!(within(soft, wanted), given, "{soft}");
        }
    }
}
