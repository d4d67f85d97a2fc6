//! Random histories against the real gate over every engine, two gates on one store, with crashes and restarts.
//! `table` is what the contract says should be, `system` the real thing, `checks` the nine invariants of the
//! design, and `machine` plays a history and compares after every step. A third play puts a randomly faulty store
//! in front: there the table only proposes steps, and the invariants alone are held.
//! A planted fault once went unseen because the checks came before a send had its chance: every look waits until
//! the gate rests (`FaultyStore::rest`).

mod checks;
mod limits;
mod machine;
mod system;
mod table;
