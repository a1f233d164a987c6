//! What a person must find on the pages, and what must never be on one.

use askama::Template as _;

use super::fixture;
use super::grid::{self, Grid};
use super::page::{ASSETS, BareShell, Section, Theme};
use super::pages::*;
use super::view::{Bar, IssueView};

fn sensors_page(size: usize, grid: Grid, theme: Theme) -> String {
    let all = fixture::fleet(size);
    let statuses = grid.with_filters(grid::counts(&all, |sensor| sensor.status), false);
    let healths = grid.with_filters(grid::counts(&all, |sensor| sensor.health), true);
    let (rows, pager) = grid.page_of(all);
    SensorsPage {
        shell: fixture::shell(Section::Sensors, theme),
        watching: format!("{size} of {size} are watching"),
        strip: fixture::strip(size),
        is_fleet_empty: size == 0,
        total: size,
        statuses,
        healths,
        grid,
        rows,
        pager,
    }
    .render()
    .unwrap()
}

fn split(size: usize) -> (Vec<IssueView>, Vec<IssueView>) {
    fixture::issues(size).into_iter().partition(|issue| issue.open)
}

fn overview_page(size: usize, theme: Theme) -> String {
    let all = fixture::fleet(size);
    let (statuses, healths) = (grid::counts(&all, |s| s.status), grid::counts(&all, |s| s.health));
    OverviewPage {
        shell: fixture::shell(Section::Overview, theme),
        total: size,
        watching_count: all.iter().filter(|s| s.watching).count(),
        watching: "Every sensor that should watch does.".to_owned(),
        status_bar: Bar::of(&statuses),
        statuses: Grid::default().with_filters(statuses, false),
        health_bar: Bar::of(&healths),
        healths: Grid::default().with_filters(healths, true),
        issues: split(size).0,
        more: 0,
        calm: CALM,
        strip: fixture::strip(size),
    }
    .render()
    .unwrap()
}

fn sensor_page(theme: Theme) -> String {
    let row = fixture::fleet(5).remove(3);
    let (shell, issues) = (fixture::shell(Section::Sensors, theme), fixture::issues(5));
    SensorPage { shell, row, facts: fixture::facts(), issues, history: fixture::history() }.render().unwrap()
}

fn health_page(size: usize, theme: Theme) -> String {
    let (open, closed) = split(size);
    HealthPage { shell: fixture::shell(Section::Health, theme), open, closed, calm: CALM }.render().unwrap()
}

fn updates_page(size: usize, theme: Theme) -> String {
    let (rollouts, releases) =
        if size == 0 { (Vec::new(), Vec::new()) } else { (fixture::rollouts(), fixture::releases()) };
    let shell = fixture::shell(Section::Updates, theme);
    UpdatesPage { shell, strip: fixture::strip(size), rollouts, releases }.render().unwrap()
}

fn audit_page(size: usize, theme: Theme) -> String {
    let rows = if size == 0 { Vec::new() } else { fixture::audit() };
    AuditPage { shell: fixture::shell(Section::Audit, theme), rows, first: 0, pager: None }.render().unwrap()
}

fn sign_in_page(refused: &str, theme: Theme) -> String {
    let shell = BareShell { theme, assets: &ASSETS };
    SignInPage { shell, refused: refused.to_owned(), next: "/".to_owned() }.render().unwrap()
}

fn every_page(theme: Theme) -> Vec<(String, String)> {
    let mut pages = vec![
        ("sign-in".to_owned(), sign_in_page("", theme)),
        (
            "sign-in-refused".to_owned(),
            sign_in_page(
                "that sign-in secret is not valid (any more): it works once; print another with `watchpost sign-in-link`",
                theme,
            ),
        ),
        ("sensor".to_owned(), sensor_page(theme)),
    ];
    for size in [0, 3, 5, 300] {
        pages.push((format!("sensors-{size}"), sensors_page(size, Grid::default(), theme)));
        pages.push((format!("overview-{size}"), overview_page(size, theme)));
        pages.push((format!("health-{size}"), health_page(size, theme)));
        pages.push((format!("updates-{size}"), updates_page(size, theme)));
        pages.push((format!("audit-{size}"), audit_page(size, theme)));
    }
    pages
}

/// For eyes: `WATCHPOST_PAGES=/some/folder cargo test -p watchpost-server portal` leaves every page there.
#[test]
fn every_page_renders_from_the_emptiest_to_the_largest() {
    let folder = std::env::var_os("WATCHPOST_PAGES").map(std::path::PathBuf::from);
    for theme in [Theme::Light, Theme::Dark, Theme::System] {
        for (name, html) in every_page(theme) {
            assert!(html.contains("</html>"), "{name} breaks off");
            if let Some(folder) = &folder {
                let html = html.replace(ASSETS.as_str(), "assets");
                std::fs::write(folder.join(format!("{name}.{}.html", theme.word())), html).unwrap();
            }
        }
    }
}

fn contains_all(html: &str, wanted: &[&str]) {
    for text in wanted {
        assert!(html.contains(text), "“{text}” is missing");
    }
}

#[test]
fn the_grid_has_every_column_a_person_is_promised() {
    let html = sensors_page(5, Grid::default(), Theme::System);
    let head = html.split("<thead>").nth(1).unwrap().split("</thead>").next().unwrap();
    contains_all(
        head,
        &[
            ">Name<",
            ">Type<",
            ">Domain<",
            ">Migration state<",
            ">Service status<",
            ">Sensor status<",
            ">Version<",
            ">Delayed update<",
            ">Health status<",
            ">Open health issues<",
            ">Created<",
            ">Last contact<",
            ">Waiting for<",
        ],
    );
    assert_eq!(head.matches("<th ").count(), 13);
    assert_eq!(head.matches(r#"aria-sort="ascending""#).count(), 1);
    let row = html.split(r#"<tr id="sen_"#).nth(4).unwrap();
    contains_all(
        row,
        &[
            "DC04",
            "Update failed",
            "Running",
            "Not healthy (medium)",
            "2.254.1.0",
            "Disabled",
            "AD CS",
            "corp.example",
            "11 s ago",
            "40 d ago",
            "a newer release, or the order to try again",
        ],
    );
    contains_all(row, &[r##"<svg class="icon medium" aria-hidden="true"><use href="#s-triangle"/>"##]);
}

#[test]
fn the_strip_draws_rings_cells_the_gate_and_who_is_in_flight() {
    let html = sensors_page(5, Grid::default(), Theme::System);
    let strip = html.split(r#"id="strip""#).nth(1).unwrap().split("</section>").next().unwrap();
    contains_all(
        strip,
        &[
            "2.255.1.0",
            "<b>Automatic</b>",
            "<b>Delayed</b>",
            "Cleared",
            "Went back",
            "72 h gate",
            "2 d 23 h left",
            "Awaiting clearance",
            "proof that 2.255.1.0 detects, until 09:50:40 UTC",
        ],
    );
    assert_eq!(strip.matches(r#"<a class="cell "#).count(), 5, "one cell per sensor");
    let large = sensors_page(300, Grid::default(), Theme::System);
    assert_eq!(large.matches(r#"<li class="dot""#).count(), 300, "still one cell per sensor, without names");
    assert!(sensors_page(3, Grid::default(), Theme::System).contains(r#"id="strip" data-live hidden"#));
}

#[test]
fn nothing_is_inline_and_every_page_has_its_landmarks() {
    for (name, html) in every_page(Theme::System) {
        for script in html.split("<script").skip(1) {
            assert!(script.starts_with(" src=\"/assets/"), "{name} has an inline script");
        }
        assert!(!html.contains("<style") && !html.contains(" style="), "{name} has an inline style");
        let handlers = [" onclick=", " onload=", " onerror=", "javascript:"];
        assert!(!handlers.iter().any(|handler| html.contains(handler)), "{name} has an inline handler");
        assert_eq!(html.matches("<h1>").count(), 1, "{name}");
        assert_eq!(html.matches("<main").count(), 1, "{name}");
        assert!(html.starts_with("<!doctype html>\n<html lang=\"en\""), "{name}");
        if !name.starts_with("sign-in") {
            contains_all(
                &html,
                &["Skip to content", r#"aria-live="polite""#, "<noscript><meta http-equiv=\"refresh\""],
            );
            assert_eq!(html.matches("aria-live").count(), 1, "{name}: one polite live region");
            assert_eq!(html.matches(r#"aria-current="page""#).count(), 1, "{name}");
        }
    }
}

#[test]
fn what_a_host_says_of_itself_is_never_markup() {
    let hostile = r#"<script>alert(1)</script>"'><img src=x onerror=alert(1)>"#;
    let mut row = fixture::fleet(5).remove(3);
    row.name = hostile.to_owned();
    row.domain = hostile.to_owned();
    row.waiting = hostile.to_owned();
    row.place = hostile.to_owned();
    row.whys[0].because = hostile.to_owned();
    let mut issues = fixture::issues(5);
    issues[0].what = hostile.to_owned();
    issues[0].sensor = Some((row.id.clone(), hostile.to_owned()));
    let mut history = fixture::history();
    history[0].reason = hostile.to_owned();
    let mut strip = fixture::strip(5).unwrap();
    strip.because = hostile.to_owned();
    strip.lanes[0].cells[0].name = hostile.to_owned();
    strip.lanes[0].cells[0].note = hostile.to_owned();
    strip.in_flight[0].waits_for = hostile.to_owned();
    let mut audit = fixture::audit();
    audit[0].actor = hostile.to_owned();
    audit[0].after = hostile.to_owned();
    let shell = |section| fixture::shell(section, Theme::System);
    let mut facts = fixture::facts();
    facts[4].value = super::view::Value::Text(hostile.to_owned());
    let grid = Grid { q: hostile.to_owned(), ..Grid::default() };
    let pages = [
        SensorsPage {
            shell: shell(Section::Sensors),
            watching: String::new(),
            strip: Some(strip),
            is_fleet_empty: false,
            total: 1,
            statuses: grid.with_filters(grid::counts(std::slice::from_ref(&row), |s| s.status), false),
            healths: Vec::new(),
            grid,
            rows: vec![row.clone()],
            pager: None,
        }
        .render()
        .unwrap(),
        SensorPage { shell: shell(Section::Sensors), row, facts, issues, history }.render().unwrap(),
        AuditPage { shell: shell(Section::Audit), rows: audit, first: 0, pager: None }.render().unwrap(),
        sign_in_page(hostile, Theme::System),
    ];
    for html in pages {
        assert!(!html.contains("<script>") && !html.contains("<img"), "markup came through");
        assert!(html.contains("&#60;script&#62;"), "the text itself is shown");
    }
}

#[test]
fn an_empty_place_says_what_to_do_next() {
    contains_all(&sensors_page(0, Grid::default(), Theme::System), &["watchpost access-key show"]);
    contains_all(&overview_page(0, Theme::System), &["watchpost access-key show"]);
    contains_all(&updates_page(0, Theme::System), &["watchpost release build"]);
    contains_all(&health_page(3, Theme::System), &["No open health issue"]);
    let nothing_found = Grid { q: "no such".to_owned(), ..Grid::default() };
    contains_all(&sensors_page(5, nothing_found, Theme::System), &["No sensor matches", r#"href="/sensors">Show all"#]);
}

#[test]
fn the_address_filters_sorts_and_turns_pages() {
    let names = |grid: &Grid, size| -> Vec<String> {
        grid.page_of(fixture::fleet(size)).0.into_iter().map(|row| row.name).collect()
    };
    let failed = Grid { status: "update-failed".to_owned(), ..Grid::default() };
    assert_eq!(names(&failed, 5), ["DC04"]);
    let by_version = Grid { sort: "version".to_owned(), dir: "desc".to_owned(), ..Grid::default() };
    assert_eq!(names(&by_version, 5), ["DC01", "DC02", "DC03", "DC04", "DC05"], "2.255 before 2.254, then by name");
    let backwards = Grid { sort: "name".to_owned(), dir: "desc".to_owned(), ..Grid::default() };
    assert_eq!(names(&backwards, 3), ["DC03", "DC02", "DC01"]);
    assert_eq!(names(&Grid { q: "dc29".to_owned(), ..Grid::default() }, 300).len(), 11, "DC29 and DC290 to DC299");
    let (rows, pager) = Grid { page: 3, ..Grid::default() }.page_of(fixture::fleet(300));
    let pager = pager.unwrap();
    assert_eq!((rows.len(), &*pager.words), (100, "201 to 300 of 300"));
    assert_eq!((&*pager.previous, &*pager.next), ("/sensors?page=2", ""));
    let beyond = Grid { page: 99, q: "a&b".to_owned(), ..Grid::default() };
    assert_eq!(beyond.href(), "/sensors?q=a%26b&page=99");
    assert!(beyond.page_of(fixture::fleet(3)).0.is_empty());
}

#[test]
fn a_page_of_the_grid_is_small() {
    let all = fixture::fleet(300);
    let (rows, _) = Grid::default().page_of(all);
    assert_eq!(rows.len(), 100);
    let html = sensors_page(300, Grid::default(), Theme::System);
    assert!(html.len() < 300_000, "{} bytes before compression", html.len());
}
