//! The short forms of `cargo xtask scenario kill9`.

use watchpost_tests::kill::campaign;

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_at_random_instants_leave_every_host_on_a_correct_running_version() {
    let evidence = campaign("fleet", 20, 20_261_121).await.unwrap();
    assert_eq!(evidence["kills"], 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_within_a_path_gets_where_it_leads_by_itself() {
    let evidence = campaign("all", 10, 20_261_126).await.unwrap();
    println!("{evidence:#}");
    let paths = evidence["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 6, "{evidence}");
    for (name, path) in paths {
        assert_eq!((&path["kills"], &path["stuck"]), (&10.into(), &0.into()), "{name}: {path}");
    }
}
