//! The whole gateway under load, beside what it is compared with, in one run: `cargo bench --bench whole`.
//! docs/performance.md says what each row means and how to repeat it.

mod histogram;
mod load;
mod paraph;
mod process;

fn main() {}
