//! The API from outside: who may call what, what publishing refuses, and what errors look like.

mod evidence;

use http::{Method, StatusCode};
use serde_json::json;

use super::router;
use crate::auth::access::{Action, Principal, Resource, Role, authorize};
use crate::auth::browser::Web;
use crate::testing::{A, B, House, call};

/// A path of a route with something in its placeholders.
fn fill(path: &str) -> String {
    let path =
        path.replace("{sensor}", "DC01").replace("{version}", "2.254.1.0").replace("{build}", "2026-01-05T00:00:00Z");
    let path = path.replace("{fingerprint}", &"0".repeat(64));
    let path = path.replace("{alert}", "alr_00000000000000000000000000").replace("{*key}", "02:00:00:00:00:01");
    let path = path.replace("{issue}", "iss_00000000000000000000000000");
    format!("/api/v1{}", path.replace("{token}", "tok_00000000000000000000000000"))
}

#[tokio::test]
async fn every_route_lets_in_exactly_whom_it_should() {
    let house = House::new().await;
    let server = house.start().await;
    let app = server.app();
    let (_, routes) = router(Web { app: app.clone(), is_secure: false });
    assert_eq!(routes.len(), 58);
    let console = Principal::console();
    let mut callers = vec![("nobody".to_owned(), String::new(), None)];
    callers.push(("stranger".to_owned(), "Authorization: Bearer wp_nope\r\n".to_owned(), None));
    for role in [Role::Viewer, Role::User, Role::Administrator] {
        let (_, secret) = app.create_token(&console, "t", role, &[], None).await.unwrap();
        let principal = app.token_principal(secret.reveal()).unwrap();
        callers.push((role.to_string(), format!("Authorization: Bearer {}\r\n", secret.reveal()), Some(principal)));
    }
    let scopes = [Action::PublishReleases];
    let (_, secret) = app.create_token(&console, "t", Role::Administrator, &scopes, None).await.unwrap();
    let principal = app.token_principal(secret.reveal()).unwrap();
    callers.push(("publisher".to_owned(), format!("Authorization: Bearer {}\r\n", secret.reveal()), Some(principal)));
    for route in routes.iter().filter(|route| route.path != "/events") {
        for (name, head, principal) in &callers {
            let answer = call(&server, route.method.clone(), &fill(route.path), head, b"").await;
            let expected = match principal {
                None => Some(StatusCode::UNAUTHORIZED),
                Some(principal) if authorize(principal, route.action, Resource::Workspace).is_err() => {
                    Some(StatusCode::FORBIDDEN)
                }
                Some(_) => None,
            };
            let is_right = match expected {
                Some(status) => answer.status == status,
                None => answer.status != StatusCode::UNAUTHORIZED && answer.status != StatusCode::FORBIDDEN,
            };
            assert!(is_right, "{} {} as {name}: {}", route.method, route.path, answer.status);
        }
    }
}

#[tokio::test]
async fn the_trust_clock_has_every_part_and_what_ends_first_at_the_front() {
    let mut house = House::new().await;
    let server = house.start().await;
    assert_eq!(house.publish(&server, A).await.status, StatusCode::CREATED);
    server.app().look_at_oneself(true).await.unwrap();
    let answer = house.call(&server, Method::GET, "/api/v1/trust", b"").await;
    let clock: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let all = clock["value"].as_array().unwrap();
    let repositories = ["root", "targets", "snapshot", "timestamp"];
    for (repository, role) in ["image", "director"].iter().flat_map(|of| repositories.map(|role| (of, role))) {
        assert_eq!(all.iter().filter(|row| row["repository"] == *repository && row["role"] == role).count(), 1);
    }
    assert_eq!((all.len(), &all[8]["name"], &all[8]["repository"]), (9, &json!("gateway certificate"), &json!(null)));
    assert_eq!((&all[0]["daysLeft"], &all[0]["state"]), (&json!(7), &json!("fine")));
    let root = all.iter().find(|row| row["name"] == "image repository, root").unwrap();
    assert_eq!((&root["version"], &root["threshold"], &root["keys"]), (&json!(1), &json!(3), &json!(5)));
    assert_eq!((&root["renewedBy"], &root["daysLeft"]), (&json!("releaseAuthor"), &json!(365)));
    // Two hosts, a day apart: the certificate that ends first, 2 years after it was registered.
    house.host(server.app(), 1, false, A).await;
    house.clock.set(house.clock.now() + std::time::Duration::from_secs(86_400));
    house.host(server.app(), 2, false, A).await;
    let answer = house.call(&server, Method::GET, "/api/v1/trust", b"").await;
    let clock: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let hosts = clock["value"].as_array().unwrap().iter().find(|row| row["renewedBy"] == "host").unwrap();
    assert_eq!((&hosts["daysLeft"], &hosts["state"]), (&json!(729), &json!("fine")));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn an_expired_or_revoked_token_is_nobody_at_once() {
    let house = House::new().await;
    let server = house.start().await;
    let day = std::time::Duration::from_secs(86_400);
    let console = Principal::console();
    let (token, secret) = server.app().create_token(&console, "t", Role::Viewer, &[], Some(day)).await.unwrap();
    let (_, mortal) = server.app().create_token(&console, "t", Role::Viewer, &[], Some(day)).await.unwrap();
    let (a, b) = (secret.reveal(), mortal.reveal());
    assert!(server.app().token_principal(a).is_some());
    server.app().revoke_token(&console, token.id).await.unwrap();
    assert!(server.app().token_principal(a).is_none());
    assert!(server.app().token_principal(b).is_some());
    house.clock.set(house.clock.now() + day);
    assert!(server.app().token_principal(b).is_none());
}

#[tokio::test]
async fn publishing_the_same_twice_is_fine_and_anything_else_is_refused_by_code() {
    let mut house = House::new().await;
    let server = house.start().await;
    let first = house.publish(&server, A).await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&first.body));
    assert_eq!(house.publish(&server, A).await.status, StatusCode::OK);

    let package = house.package(B, "another rule");
    let publication = house.publication(&package);
    let post = async |body: &serde_json::Value| {
        house.call(&server, Method::POST, "/api/v1/releases", body.to_string().as_bytes()).await
    };
    let missing = post(&publication).await;
    assert_eq!((missing.status, missing.code()), (StatusCode::CONFLICT, "packageMissing".to_owned()));
    let problem = missing.json();
    assert!(missing.head.contains("application/problem+json"), "{}", missing.head);
    assert!(missing.head.contains(&format!("x-operation-id: {}", problem["operationId"].as_str().unwrap())));

    let mut unsigned = publication.clone();
    unsigned["target"] = json!("sensor-9.9.9.9.cab");
    assert_eq!(post(&unsigned).await.code(), "targetNotSigned");
    let mut forged = publication.clone();
    let stamp = forged["metadata"]["timestamp.json"].as_str().unwrap().replace("\"version\"", "\"Version\"");
    forged["metadata"]["timestamp.json"] = json!(stamp);
    assert_eq!(post(&forged).await.code(), "badSignature");
    let mut named = publication.clone();
    named["metadata"]["../../etc/passwd"] = json!("x");
    assert_eq!(post(&named).await.code(), "badMetadataName");
    let mut unknown = publication.clone();
    unknown["colour"] = json!("red");
    let refused = post(&unknown).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::BAD_REQUEST, "badBody".to_owned()));
    assert!(refused.json()["detail"].as_str().unwrap().starts_with("key colour: unknown field"));
    assert_eq!(server.app().releases().len(), 1, "nothing that was refused is on offer");

    let mut release = watchpost_core::release::ReleaseManifest::minor(B, 1);
    release.minimum_control_plane_version = "999.0.0".parse().ok();
    let ahead = house.package_of(release, "a rule of the future");
    let bytes = std::fs::read(&ahead).unwrap();
    house.call(&server, Method::POST, "/api/v1/packages", &bytes).await;
    let body = house.publication(&ahead).to_string();
    let refused = house.call(&server, Method::POST, "/api/v1/releases", body.as_bytes()).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::CONFLICT, "controlPlaneTooOld".to_owned()));
    assert!(refused.json()["detail"].as_str().unwrap().contains("needs a control plane of 999.0.0 or later"));

    let twin = house.package(A, "the same version with another rule");
    let bytes = std::fs::read(&twin).unwrap();
    house.call(&server, Method::POST, "/api/v1/packages", &bytes).await;
    let body = house.publication(&twin).to_string();
    let taken = house.call(&server, Method::POST, "/api/v1/releases", body.as_bytes()).await;
    assert_eq!((taken.status, taken.code()), (StatusCode::CONFLICT, "versionTaken".to_owned()));
}

#[tokio::test]
async fn an_upload_that_is_too_large_or_empty_leaves_nothing_behind() {
    let house = House::new().await;
    let config = std::fs::read_to_string(&house.founded.config).unwrap();
    std::fs::write(&house.founded.config, config.replace("536870912", "100000")).unwrap();
    let server = house.start().await;
    let uploads = || std::fs::read_dir(house.path("server/uploads")).unwrap().count();
    let large = house.call(&server, Method::POST, "/api/v1/packages", &[7; 100_001]).await;
    assert_eq!((large.status, large.code()), (StatusCode::PAYLOAD_TOO_LARGE, "tooLarge".to_owned()));
    let empty = house.call(&server, Method::POST, "/api/v1/packages", b"").await;
    assert_eq!(empty.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(uploads(), 0);
    let taken = house.call(&server, Method::POST, "/api/v1/packages", &[7; 100_000]).await;
    assert_eq!((taken.status, taken.json()["length"].as_u64()), (StatusCode::CREATED, Some(100_000)));
    assert_eq!(uploads(), 1);
}

#[tokio::test]
async fn sensors_carry_graphs_names_and_ours() {
    let mut house = House::new().await;
    let server = house.start().await;
    house.publish(&server, A).await;
    house.host(server.app(), 1, false, A).await;
    house.host(server.app(), 2, true, A).await;
    let list = house.call(&server, Method::GET, "/api/v1/sensors?$top=1&$skip=1&$count=true", b"").await.json();
    assert_eq!(list["@odata.count"], 2);
    let row = &list["value"][0];
    for (key, value) in [
        ("displayName", json!("DC02")),
        ("sensorType", json!("domainControllerIntegrated")),
        ("version", json!("2.254.1.0")),
        ("serviceStatus", json!("running")),
        ("healthStatus", json!("healthy")),
        ("openHealthIssuesCount", json!(0)),
        ("domainName", json!("corp.example")),
        ("settings", json!({ "isDelayedDeploymentEnabled": true })),
        ("createdDateTime", json!("2026-01-05T00:00:00Z")),
        ("lastSeenDateTime", json!("2026-01-05T00:00:00Z")),
        ("alertCount", json!(0)),
        ("site", json!("hq")),
        ("zone", json!("core")),
    ] {
        assert_eq!(row[key], value, "{key}");
    }
    let one = house.call(&server, Method::GET, "/api/v1/sensors/dc01", b"").await;
    assert_eq!(one.json()["displayName"], "DC01");
    assert!(one.json()["why"]["deploymentStatus"]["reason"].as_str().unwrap().starts_with("It runs 2.254.1.0"));
    let none = house.call(&server, Method::GET, "/api/v1/sensors/DC09", b"").await;
    assert_eq!((none.status, none.code()), (StatusCode::NOT_FOUND, "notFound".to_owned()));
    let odd = house.call(&server, Method::GET, "/api/v1/sensors?$top=0", b"").await;
    assert_eq!((odd.status, odd.code()), (StatusCode::BAD_REQUEST, "badQuery".to_owned()));
    let lost = house.call(&server, Method::GET, "/api/v1/nothing", b"").await;
    assert_eq!((lost.status, lost.code()), (StatusCode::NOT_FOUND, "notFound".to_owned()));
}

#[tokio::test]
async fn a_browser_changes_something_only_from_our_own_pages() {
    let mut house = House::new().await;
    let server = house.start().await;
    house.publish(&server, A).await;
    let secret = house.founded.sign_in_secret.reveal().to_owned();
    let reference = server.app().sign_in(&secret, [127, 0, 0, 1].into()).await.unwrap();
    let visitor = server.app().session_visitor(reference.reveal()).unwrap();
    let cookie = format!("Cookie: watchpost={}\r\n", reference.reveal());
    let list = call(&server, Method::GET, "/api/v1/rollouts", &cookie, b"").await;
    assert_eq!(list.status, StatusCode::OK);
    assert!(list.head.contains("content-security-policy: default-src 'none'"), "{}", list.head);
    let pause = async |more: &str| {
        let head = format!("{cookie}{more}");
        call(&server, Method::POST, "/api/v1/rollouts/2.254.1.0/pause", &head, b"").await
    };
    let ours = format!("x-form-token: {}\r\n", visitor.form_token);
    for head in
        [String::new(), "Sec-Fetch-Site: same-origin\r\n".to_owned(), format!("{ours}Sec-Fetch-Site: cross-site\r\n")]
    {
        let answer = pause(&head).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::FORBIDDEN, "crossSiteRequest".to_owned()), "{head}");
        assert!(
            answer.head.contains("x-content-type-options: nosniff"),
            "errors carry the headers too: {}",
            answer.head
        );
    }
    let answer = pause(&format!("{ours}Sec-Fetch-Site: same-origin\r\n")).await;
    assert_eq!((answer.status, answer.json()["state"].as_str()), (StatusCode::OK, Some("paused")));
}
