//! A browser visits a real server, without its listener.

use axum::body::{Body, to_bytes};
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use http::{Request, StatusCode};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use watchpost_clock::Clock;
use watchpost_core::sync::{Report, ServiceState};
use watchpost_core::time::Timestamp;

use super::GUARDED;
use super::page::ASSETS;
use crate::app::enrollment::EnrollRequest;
use crate::auth::browser::Web;
use crate::config::Settings;
use crate::founding::{Founded, Plan, found};
use crate::lifecycle::{Running, Server};

/// Largest page a test reads.
const MAX_PAGE: usize = 1_000_000;

struct Visit {
    founded: Founded,
    server: Running,
    clock: Clock,
    cookie: String,
    _folder: tempfile::TempDir,
}

impl Visit {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now: Timestamp = "2026-01-05T00:00:00Z".parse().unwrap();
        let clock = Clock::fixed(now);
        let any = "127.0.0.1:0".parse().unwrap();
        let plan = Plan { data_dir: folder.path().join("server"), image_root: None, portal: any, gateway: any };
        let founded = found(plan, &clock).await.unwrap();
        let settings = Settings::read(&founded.config).unwrap();
        let server = Server::start(settings, clock.clone()).await.unwrap();
        Self { founded, server, clock, cookie: String::new(), _folder: folder }
    }

    async fn send(&self, request: http::request::Builder, body: &str) -> Response {
        let web = Web { app: self.server.app().clone(), is_secure: false };
        let router = TowerToHyperService::new(crate::pages::router(&web));
        let request = request.header(COOKIE, &self.cookie).body(Body::from(body.to_owned())).unwrap();
        router.call(request).await.unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        self.send(Request::get(path), "").await
    }

    async fn post(&self, path: &str, form: &str) -> Response {
        let request = Request::post(path).header("sec-fetch-site", "same-origin");
        self.send(request.header(CONTENT_TYPE, "application/x-www-form-urlencoded"), form).await
    }

    async fn sign_in(&mut self) -> Response {
        let response = self.post("/sign-in", &format!("secret={}", self.founded.sign_in_secret.reveal())).await;
        self.cookie = header(&response, SET_COOKIE.as_str()).split(';').next().unwrap().to_owned();
        response
    }

    async fn enrol(&self, name: &str, domain: &str) -> String {
        let app = self.server.app();
        let secret = self.founded.access_key.reveal().split('.').next().unwrap().to_owned();
        let request = EnrollRequest {
            secret,
            enrolment_id: "enrolment-1".to_owned(),
            host_id: "host-1".to_owned(),
            from: String::new(),
            name: name.to_owned(),
            sensor_type: "domainControllerIntegrated".to_owned(),
            domain: domain.to_owned(),
            site: String::new(),
            zone: String::new(),
            delayed: true,
            domain_controller_dns_names: Vec::new(),
            operating_system: String::new(),
        };
        let id = app.enroll(request, [7; 32], self.clock.now()).await.unwrap().sensor;
        let report = Report {
            version: Some("2.254.1.0".parse().unwrap()),
            service: ServiceState::Running,
            operating_system: "<script>alert(1)</script>".to_owned(),
            alert_count: 12,
            ..Report::default()
        };
        app.check_in(id, report, self.clock.now()).await.unwrap();
        id.to_string()
    }
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

async fn text(response: Response) -> String {
    String::from_utf8(to_bytes(response.into_body(), MAX_PAGE).await.unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn nobody_sees_a_page_before_signing_in() {
    let visit = Visit::start().await;
    let id = visit.enrol("DC01", "corp.example").await;
    for route in GUARDED {
        let path = route.replace("{sensor}", &id);
        let response = visit.get(&path).await;
        assert_eq!(response.status(), StatusCode::SEE_OTHER, "{path}");
        assert!(header(&response, LOCATION.as_str()).starts_with("/sign-in"), "{path}");
        assert!(!text(response).await.contains("DC01"), "{path}");
    }
    let response = visit.get("/sensors?q=a").await;
    assert_eq!(header(&response, LOCATION.as_str()), "/sign-in?next=%2Fsensors%3Fq%3Da");
    assert_eq!(visit.post("/sign-out", "formToken=a").await.status(), StatusCode::SEE_OTHER);
    visit.server.stop().await.unwrap();
}

#[tokio::test]
async fn the_printed_secret_signs_in_once_and_only_from_our_own_page() {
    let mut visit = Visit::start().await;
    let secret = visit.founded.sign_in_secret.reveal().to_owned();
    let form = format!("secret={secret}&next=%2Fhealth");
    let foreign = Request::post("/sign-in").header("sec-fetch-site", "cross-site");
    let foreign = foreign.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    assert_eq!(visit.send(foreign, &form).await.status(), StatusCode::FORBIDDEN);
    let wrong = visit.post("/sign-in", "secret=wrong").await;
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    let page = text(wrong).await;
    assert!(
        page.contains("watchpost sign-in-link") && !page.contains("value=\"wrong\""),
        "the secret is not shown back"
    );
    let elsewhere = visit.post("/sign-in", "secret=wrong&next=https%3A%2F%2Fe.example").await;
    assert!(!text(elsewhere).await.contains("e.example"));

    let response = visit.post("/sign-in", &form).await;
    assert_eq!((response.status(), header(&response, LOCATION.as_str())), (StatusCode::SEE_OTHER, "/health"));
    let cookie = header(&response, SET_COOKIE.as_str());
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite="), "{cookie}");
    assert_eq!(visit.post("/sign-in", &form).await.status(), StatusCode::UNAUTHORIZED, "it works once");
    visit.cookie = cookie.split(';').next().unwrap().to_owned();
    assert_eq!(visit.get("/health").await.status(), StatusCode::OK);
    visit.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_signed_in_person_sees_the_fleet_under_a_strict_policy() {
    let mut visit = Visit::start().await;
    let id = visit.enrol("DC01", "corp.example").await;
    assert_eq!(visit.sign_in().await.status(), StatusCode::SEE_OTHER);
    for route in GUARDED {
        let response = visit.get(&route.replace("{sensor}", &id)).await;
        assert_eq!(response.status(), StatusCode::OK, "{route}");
        let policy = header(&response, CONTENT_SECURITY_POLICY.as_str());
        for part in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.contains(part), "{route}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{route}: {policy}");
        assert_eq!(header(&response, "x-content-type-options"), "nosniff");
        assert_eq!(header(&response, CACHE_CONTROL.as_str()), "no-store");
        let html = text(response).await;
        assert!(!html.contains("<script>") && !html.contains(" style="), "{route}");
    }
    let grid = text(visit.get("/sensors").await).await;
    for word in
        ["DC01", "Domain controller", "corp.example", "Up to date", "Running", "2.254.1.0", "Enabled", "Healthy"]
    {
        assert!(grid.contains(word), "{word}");
    }
    let detail = text(visit.get(&format!("/sensors/{id}")).await).await;
    assert!(detail.contains("&#60;script&#62;alert(1)"), "what the host says of itself is shown as text");
    assert!(detail.contains("<dt>Alerts raised</dt><dd>12</dd>"));
    let row = text(visit.get(&format!("/sensors?row={id}&row=sen_nobody")).await).await;
    assert_eq!(row.matches("<tr id=\"sen_").count(), 1);
    assert_eq!(visit.get("/sensors/sen_nobody").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(visit.get("/nowhere").await.status(), StatusCode::NOT_FOUND);
    assert!(text(visit.get("/audit").await).await.contains("sensor.enrol"));
    visit.server.stop().await.unwrap();
}

#[tokio::test]
async fn signing_out_needs_the_form_token_and_ends_the_session() {
    let mut visit = Visit::start().await;
    visit.sign_in().await;
    assert_eq!(visit.post("/sign-out", "formToken=guess").await.status(), StatusCode::FORBIDDEN);
    let page = text(visit.get("/sensors").await).await;
    let token = page.split("name=\"formToken\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let response = visit.post("/sign-out", &format!("formToken={token}")).await;
    assert_eq!(header(&response, LOCATION.as_str()), "/sign-in");
    assert_eq!(visit.get("/sensors").await.status(), StatusCode::SEE_OTHER, "the old cookie opens nothing");
    visit.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_form_that_never_arrives_or_never_ends_is_given_up() {
    let short = std::time::Duration::from_millis(50);
    let forms = axum::Router::new().route("/", axum::routing::post(async |form: String| form));
    let forms = forms.layer(axum::middleware::from_fn_with_state(short, super::in_time));
    let send = async |body| TowerToHyperService::new(forms.clone()).call(Request::post("/").body(body).unwrap()).await;
    let never = Body::from_stream(futures_util::stream::pending::<Result<axum::body::Bytes, std::io::Error>>());
    assert_eq!(send(never).await.unwrap().status(), StatusCode::REQUEST_TIMEOUT);
    let large = Body::from(vec![b'a'; super::MAX_FORM_BYTES + 1]);
    assert_eq!(send(large).await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(text(send(Body::from("secret=a")).await.unwrap()).await, "secret=a");
}

#[tokio::test]
async fn colours_are_kept_in_a_cookie_and_assets_for_ever() {
    let mut visit = Visit::start().await;
    let response = visit.post("/portal/theme", "theme=dark&back=%2F%2Fe.example").await;
    assert_eq!(header(&response, LOCATION.as_str()), "/");
    assert!(header(&response, SET_COOKIE.as_str()).starts_with("theme=dark; Path=/; HttpOnly"));
    visit.cookie = "theme=dark".to_owned();
    assert!(text(visit.get("/sign-in").await).await.contains("data-theme=\"dark\""));
    for name in ["tokens.css", "portal.css", "parts.css", "live.js", "sign-in.js", "icon.svg"] {
        let response = visit.get(&format!("{}/{name}", *ASSETS)).await;
        assert_eq!(response.status(), StatusCode::OK, "{name}");
        assert_eq!(header(&response, CACHE_CONTROL.as_str()), "public, max-age=31536000, immutable", "{name}");
    }
    let old = visit.get("/assets/0000000000000000/live.js").await;
    assert_eq!((old.status(), header(&old, CACHE_CONTROL.as_str())), (StatusCode::OK, "no-store"));
    assert_eq!(visit.get(&format!("{}/..%2Fmod.rs", *ASSETS)).await.status(), StatusCode::NOT_FOUND);
    visit.server.stop().await.unwrap();
}
