//! What must hold of the admin port.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

fn state() -> AdminState {
    AdminState {
        ready: Arc::new(|| true),
        metrics: Arc::new(|| "# TYPE up gauge\nup 1\n".into()),
        config: Arc::new(|| "{\"plans\":{}}".into()),
        status: Arc::new(snapshot),
    }
}

fn snapshot() -> Status {
    let limit = LimitRow { name: "tokens".into(), quota: "200k/min".into(), used: 250_000, burst: 200_000 };
    Status {
        version: "1.2.3".into(),
        uptime: Duration::from_secs(3 * 3600 + 65),
        generation: 7,
        tenants: vec![
            TenantRow { name: "<script>".into(), plan: "a&b".into(), in_flight: 3, limits: vec![limit.clone(), limit] },
            TenantRow { name: "free".into(), ..TenantRow::default() },
        ],
        upstreams: vec![UpstreamRow { base: "https://a/\"x\"".into(), state: "ok".into(), ..UpstreamRow::default() }],
        notices: vec!["reload failed: it's <bad>".into()],
    }
}

fn text_of(state: &AdminState, method: &Method, path: &str) -> (u16, String, String) {
    let response = answer(state, method, path);
    let kind = response.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
    let status = response.status().as_u16();
    let mut body = std::pin::pin!(response.into_body());
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut text = Vec::new();
    while let std::task::Poll::Ready(Some(Ok(frame))) = http_body::Body::poll_frame(body.as_mut(), &mut cx) {
        text.extend_from_slice(&frame.into_data().unwrap());
    }
    (status, kind, String::from_utf8(text).unwrap())
}

#[test]
fn each_path_answers_with_its_type() {
    let state = state();
    let get = |path| text_of(&state, &Method::GET, path);
    assert_eq!(get("/livez"), (200, "text/plain; charset=utf-8".into(), "ok\n".into()));
    assert_eq!(get("/readyz").0, 200);
    let (status, kind, body) = get("/metrics");
    assert_eq!((status, kind.as_str()), (200, "text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(body, "# TYPE up gauge\nup 1\n");
    assert_eq!(get("/config"), (200, "application/json".into(), "{\"plans\":{}}".into()));
    assert_eq!(get("/status").1, "text/html; charset=utf-8");
    for path in ["/", "/livez/", "/metrics2", "/v1/models", "/status/../config", ""] {
        assert_eq!(get(path).0, 404, "{path}");
    }
}

#[test]
fn draining_is_unready_yet_alive() {
    let state = AdminState { ready: Arc::new(|| false), ..state() };
    assert_eq!(text_of(&state, &Method::GET, "/readyz").0, 503);
    assert_eq!(text_of(&state, &Method::GET, "/livez").0, 200);
}

#[test]
fn nothing_but_get_is_taken() {
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::HEAD, Method::OPTIONS, Method::CONNECT] {
        let response = answer(&state(), &method, "/config");
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()[ALLOW], "GET");
    }
}

#[test]
fn the_page_escapes_every_text_and_stays_well_formed() {
    let page = page::render(&snapshot());
    for raw in ["<script>", "a&b", "\"x\"", "it's <bad>"] {
        assert!(!page.contains(raw), "{raw} stands unescaped");
    }
    for escaped in ["&lt;script&gt;", "a&amp;b", "https://a/&quot;x&quot;", "it&#39;s &lt;bad&gt;"] {
        assert!(page.contains(escaped), "{escaped} is missing");
    }
    for tag in ["table", "thead", "tbody", "tr", "td", "th", "ul", "li", "progress", "main", "body", "html"] {
        let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
    assert!(page.contains("http-equiv=\"refresh\""));
    assert!(page.contains("up 3 h 1 min, configuration 7"));
    assert!(page.contains("max=\"200000\" value=\"200000\">250000 of 200000"), "a debt fills the bar, and is told");
    assert!(page.contains("No limits."));
}

#[test]
fn an_empty_page_says_so() {
    assert_eq!(page::render(&Status::default()).matches("None.").count(), 2);
}

async fn ask(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_port_serves_and_survives_a_panicking_source() {
    let listener = Listener::bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let state = AdminState { metrics: Arc::new(|| panic!("no metrics today")), ..state() };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let port = tokio::spawn(serve(listener, state, async { drop(stopped.await) }));
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    assert!(ask(address, &get("/metrics")).await.starts_with("HTTP/1.1 500 "));
    let alive = ask(address, &get("/livez")).await;
    assert!(alive.starts_with("HTTP/1.1 200 OK\r\n") && alive.ends_with("\r\n\r\nok\n"), "{alive}");
    assert!(alive.contains("cache-control: no-store\r\n") && alive.contains("x-content-type-options: nosniff\r\n"));
    let page = ask(address, &get("/status")).await;
    assert!(page.contains("content-security-policy: default-src 'none'"), "{page}");
    stop.send(()).unwrap();
    assert!(port.await.unwrap().is_ok());
}
