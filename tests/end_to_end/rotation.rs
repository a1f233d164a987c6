//! A certificate is replaced, whatever gets lost, is killed or is put back: the host always holds one that is accepted.

use watchpost_core::identity::Slots;
use watchpost_tests::rotation::{Way, World};

/// Pieces of one rotation's messages that are lost in turn, each way; a rotation has fewer (the last turn says so).
const PIECES: usize = 40;
/// Times that the updater is killed within rotations.
const KILLS: u32 = 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_replaced_whichever_message_gets_lost() {
    let world = World::new().await.unwrap();
    let mut slots = world.until_settled().await.unwrap();
    for way in [Way::Up, Way::Down] {
        let mut lost = 0;
        for number in 1..=PIECES {
            world.order().await.unwrap();
            world.lose(way, number);
            world.until_replaced(slots.cur).await.unwrap();
            if world.keeps_all() {
                break;
            }
            lost += 1;
            world.a_week_passes().unwrap();
            slots = world.until_settled().await.unwrap();
        }
        println!("rotation: {lost} messages lost in turn, {way:?}");
        assert!((5..PIECES).contains(&lost), "{lost} pieces: a rotation has more than five, and ends");
        world.a_week_passes().unwrap();
        slots = world.until_settled().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_while_its_certificate_is_replaced_goes_on_with_it() {
    let mut world = World::new().await.unwrap();
    let mut slots = world.until_settled().await.unwrap();
    for kill in 0..KILLS {
        // As on the host: the order is in a file, and survives as everything else does.
        world.updater("rotate-certificate").unwrap();
        // From when the next one is made until it is the current one; `kill` looks later each time.
        let before = slots;
        world.until("it begins", |_, slots| slots != before).await.unwrap();
        for _ in 0..kill / 2 {
            world.look().unwrap();
        }
        world.kill_host().unwrap();
        world.look().unwrap();
        world.start_host().unwrap();
        world.until_replaced(slots.cur).await.unwrap();
        world.a_week_passes().unwrap();
        slots = world.until_settled().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_put_back_from_an_older_copy_is_taught_the_certificate_it_forgot() {
    let mut world = World::new().await.unwrap();
    let first = world.until_settled().await.unwrap();
    world.back_up("before").await.unwrap();
    world.order().await.unwrap();
    let rotated = world.until_replaced(first.cur).await.unwrap();
    assert_eq!(rotated.prev, Some(first.cur));
    world.back_up("between").await.unwrap();

    world.restore("before").await.unwrap();
    assert!(world.look().unwrap().0.role(rotated.cur).is_none(), "it forgot the current one");
    let taught = world.until_replaced(first.cur).await.unwrap();
    assert_eq!(taught, rotated, "no other one was made");
    world.until_heard().await.unwrap();

    world.restore("between").await.unwrap();
    world.until_heard().await.unwrap();
    world.a_week_passes().unwrap();
    let settled = world.until_settled().await.unwrap();
    assert_eq!(settled, Slots::only(rotated.cur));
    // A backup from within the grace knows the one in use, although the one before is gone on the host.
    world.restore("between").await.unwrap();
    world.until_heard().await.unwrap();
    assert_eq!(world.until_settled().await.unwrap(), settled);
}
