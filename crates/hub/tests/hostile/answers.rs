//! Lists that are none, refusals, and a cache that works whatever is answered.

use super::*;

#[test]
fn lists_that_are_none_are_errors() {
    let lists: [(&str, Vec<u8>); 6] = [
        ("HTML", b"<html>\x1b[31m".to_vec()),
        ("nothing", Vec::new()),
        ("deep", b"[".repeat(1_000_000)),
        ("other types", br#"{"sha":1,"siblings":"x"}"#.to_vec()),
        ("no commit", br#"{"siblings":[]}"#.to_vec()),
        ("half", br#"{"sha":"0123"#.to_vec()),
    ];
    for (name, body) in lists {
        let place = Place::with_list(move |_, _| Reply::new("200 OK", &[], &body));
        let error = place.fails(name);
        assert!(matches!(error, HubError::Server { .. }), "{name}: {error}");
        assert!(!error.to_string().contains('\x1b'), "{error}");
    }
    let commit = "a".repeat(40);
    let empty = serde_json::json!({ "sha": commit, "siblings": [] });
    let place = Place::with_list(move |_, _| json(&empty));
    assert!(matches!(place.fails("no files"), HubError::NoMatch { .. }));
}

#[test]
fn answers_that_are_no_http_are_errors() {
    let many: String = (0..50_000).map(|i| format!("X{i}: a\r\n")).collect();
    let ok = "HTTP/1.1 200 OK\r\n";
    let answers: [(&str, Vec<u8>); 7] = [
        ("another protocol", b"SSH-2.0-OpenSSH\r\n".to_vec()),
        (
            "a huge header",
            format!("{ok}X: {}\r\n\r\n", "a".repeat(2_000_000)).into_bytes(),
        ),
        ("many headers", format!("{ok}{many}\r\n").into_bytes()),
        (
            "a lie about a chunk",
            format!("{ok}Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\nabc\r\n")
                .into_bytes(),
        ),
        (
            "no chunk",
            format!("{ok}Transfer-Encoding: chunked\r\n\r\nxyz\r\n").into_bytes(),
        ),
        ("half a header", b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()),
        ("a zero", vec![0; 100]),
    ];
    for (name, bytes) in answers {
        for list in [true, false] {
            let bytes = bytes.clone();
            let place = Place::answering(move |asked, usual| match asked.is_list() == list {
                true => Reply::new("", &[], &bytes).sent(Delivery::Raw),
                false => usual,
            });
            let error = place.fails(name);
            assert!(
                matches!(
                    error,
                    HubError::Server { .. } | HubError::NoNetwork { .. } | HubError::Broken { .. }
                ),
                "{name}: {error}"
            );
        }
    }
}

#[test]
fn a_list_without_end_is_cut() {
    let place = Place::with_list(|_, _| {
        let chunk = [
            b"100000\r\n".to_vec(),
            vec![b' '; 0x10_0000],
            b"\r\n".to_vec(),
        ]
        .concat();
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        let body = [head, chunk.repeat(80)].concat();
        Reply::new("", &[], &body).sent(Delivery::Raw)
    });
    let error = place.fails("80 MB of a list");
    assert!(matches!(error, HubError::Server { .. }), "{error}");
}

#[test]
fn refusals_have_their_cause_and_what_helps() {
    let list = |status: &'static str| Place::with_list(move |_, _| Reply::status(status));
    for status in ["401 Unauthorized", "403 Forbidden"] {
        let error = list(status).fails(status);
        assert!(matches!(error, HubError::Denied { .. }), "{error}");
    }
    let error = list("404 Not Found").fails("404");
    assert!(matches!(error, HubError::NoRepo { .. }), "{error}");
    for status in ["400 Bad Request", "410 Gone", "500 Error", "429 Slow Down"] {
        let place = Place::with_list(move |_, _| {
            Reply::new(status, &[("Retry-After", "3600")], b"\x1b[31mno")
        });
        let error = place.fails(status);
        assert!(matches!(error, HubError::Server { .. }), "{error}");
        assert!(error.to_string().contains(&status[..3]), "{error}");
    }
    for (status, file_error) in [
        ("401 Unauthorized", "denied"),
        ("403 Forbidden", "denied"),
        ("404 Not Found", "404"),
        ("429 Too Many Requests", "broke"),
        ("503 Service Unavailable", "broke"),
    ] {
        let place =
            Place::with_file(move |_, _| Reply::new(status, &[("Retry-After", "3600")], b"no"));
        let error = place.fails(status).to_string();
        assert!(error.contains(file_error), "{error}");
    }
}

#[test]
fn a_gated_model_is_named_with_the_page_of_its_terms() {
    for list in [true, false] {
        for (status, gated) in [("401 Unauthorized", true), ("403 Forbidden", false)] {
            let place = Place::answering(move |asked, usual| match asked.is_list() == list {
                true if gated => Reply::new(status, &[("X-Error-Code", "GatedRepo")], b""),
                true => Reply::status(status),
                false => usual,
            });
            let error = place.fails(status);
            assert!(
                matches!(error, HubError::Denied { gated: found, .. } if found == gated),
                "{error}"
            );
            let page = format!("{}/{REPO}", place.hub.url());
            assert!(error.to_string().contains(&page), "{error}");
        }
    }
}

#[test]
fn a_cached_model_works_whatever_the_hub_answers() {
    let place = Place::new();
    place.succeeds("to fill the cache");
    for status in [
        "400 Bad Request",
        "401 Unauthorized",
        "403 Forbidden",
        "404 Not Found",
        "429 Too Many Requests",
        "500 Internal Server Error",
        "502 Bad Gateway",
        "503 Service Unavailable",
        "504 Gateway Timeout",
        "302 Found",
        "999 Odd",
    ] {
        place.hub.answer_with(move |_, _| Reply::status(status));
        place.uses_the_cache(status);
    }
    place.hub.answer_with(|_, _| {
        Reply::new("200 OK", &[("Content-Type", "text/html")], b"<html>log in")
    });
    let warning = place.uses_the_cache("a portal");
    assert!(warning.contains("not a list of files"), "{warning}");
    assert!(warning.contains("cache"), "{warning}");
    place
        .hub
        .answer_with(|_, usual| usual.sent(Delivery::HangUp));
    place.uses_the_cache("a connection that breaks");
    place
        .hub
        .answer_with(|_, _| Reply::redirect("http://127.0.0.1:1/portal"));
    place.uses_the_cache("a redirect to nobody");
    let Place { hub, home, config } = place;
    drop(hub);
    let found = vae2x_hub::resolve(REPO, &config, &mut |_| ()).unwrap();
    assert!(found.starts_with(home.path()), "{found:?}");
}

#[test]
fn a_new_version_that_does_not_arrive_leaves_the_old_one_in_use() {
    for status in ["503 Service Unavailable", "403 Forbidden", "404 Not Found"] {
        let place = Place::new();
        place.succeeds("to fill the cache");
        place.hub.publish(REPO, &[(FILE, b"new weights")]);
        place
            .hub
            .answer_with(move |asked, usual| match asked.is_list() {
                true => usual,
                false => Reply::status(status),
            });
        place.uses_the_cache(status);
        place.hub.answer_as_usual();
        let found = place.fetch().0.unwrap();
        assert_eq!(std::fs::read(found.weights).unwrap(), b"new weights");
    }
}

#[test]
fn the_list_is_asked_for_again() {
    for reply in [
        Reply::status("503 Service Unavailable"),
        Reply::status("429 Too Many Requests"),
        Reply::status("").sent(Delivery::HangUp),
    ] {
        let times = AtomicUsize::new(0);
        let place =
            Place::with_list(
                move |_, usual| match times.fetch_add(1, Ordering::SeqCst) < 2 {
                    true => reply.clone(),
                    false => usual,
                },
            );
        place.succeeds("two failures");
    }
}
