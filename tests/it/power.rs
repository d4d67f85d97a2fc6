//! A power cut under load, in the model of tests/shadow: the real program is killed, its data folder becomes what it had
//! synced, and the next start must know everything that was acknowledged. `PARAPH_ROUNDS` raises the number of cuts.

use crate::load::{Dice, Ledger, Load, RULES, Staff, rounds};
use crate::world::{Disk, Gateway, World, until};

const HOLD: &str = "[hold]\nmax_held_per_agent = 10000\nmax_held = 100000\n";

/// Works until something is acknowledged beyond the first, a random moment more, and kills it.
async fn cut_under_load(gateway: Gateway, staff: &Staff, disk: &Disk, round: usize, from: u64, dice: &mut Dice) -> Ledger {
    let load = Load::begin(&gateway, staff, &format!("p{round}"), from, dice).await;
    let enough = 100 + usize::try_from(dice.below(300)).unwrap();
    until("enough is acknowledged", || async { (load.size() >= enough).then_some(()) }).await;
    gateway.kill().await;
    disk.lose_power();
    load.end()
}

#[tokio::test]
async fn nothing_that_was_acknowledged_is_lost_in_a_power_cut() {
    let (world, mut dice) = (World::new(&format!("{HOLD}{RULES}")), Dice::roll());
    let disk = Disk::below(&world);
    // Of the first start nothing may be half there.
    world.serve_with(&disk.mount()).await.kill().await;
    disk.lose_power();
    let staff = Staff::of(&world).await;
    let (mut all, mut last, rounds) = (Ledger::default(), Ledger::default(), rounds(5));
    for round in 0..rounds {
        let gateway = world.serve_with(&disk.mount()).await;
        assert_eq!(last.missing(&gateway, &staff).await, [""; 0], "lost by cut {round}");
        all.absorb(std::mem::take(&mut last));
        last = cut_under_load(gateway, &staff, &disk, round, all.next_entry(), &mut dice).await;
    }
    all.absorb(last);
    assert!(world.path("data/bodies").read_dir().unwrap().next().is_some(), "the load has texts that are files of their own");
    let gateway = world.serve().await;
    // And the very first one, which had begun to serve.
    all.settle(&world, &gateway, &staff, rounds + 1).await;
    assert!(gateway.stop().await);
    eprintln!("{rounds} cuts; acknowledged (calls, sent, audit entries, reads): {:?}", all.sizes());
}

/// The model can fail: with the engine's own flush alone, what was acknowledged since its last periodic sync is gone.
#[tokio::test]
async fn the_model_of_the_disk_sees_a_missing_sync() {
    let (world, mut dice) = (World::new(&format!("{HOLD}{RULES}")), Dice::roll());
    let disk = Disk::below(&world);
    let staff = Staff::of(&world).await;
    disk.order("deaf");
    // A periodic sync may fall between the last acknowledgement and the kill, but not every time.
    for round in 0..20 {
        let gateway = world.serve_with(&disk.mount()).await;
        let ledger = cut_under_load(gateway, &staff, &disk, round, 1, &mut dice).await;
        let gateway = world.serve().await;
        let missing = ledger.missing(&gateway, &staff).await;
        gateway.kill().await;
        if !missing.is_empty() {
            eprintln!("round {round}: of {:?} acknowledged, {} are lost", ledger.sizes(), missing.len());
            return;
        }
    }
    panic!("without our own sync nothing was lost in 20 cuts: the model sees nothing");
}
