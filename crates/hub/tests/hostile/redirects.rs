//! Redirects without an end, without an address, of every kind; mirrors that know less.

use super::*;

#[test]
fn redirects_that_lead_nowhere_are_errors_soon() {
    type Location = fn(&Request) -> String;
    let cases: [(&str, Location); 9] = [
        ("a loop", |a| a.path.clone()),
        ("an absolute loop", |a| {
            format!("http://{}{}", a.header("host").unwrap(), a.path)
        }),
        ("*", |_| "*".to_owned()),
        ("?x=1", |_| "?x=1".to_owned()),
        ("a word", |_| "foo/bar".to_owned()),
        ("empty", |_| String::new()),
        ("//", |_| "//".to_owned()),
        ("a local file", |_| "file:///etc/passwd".to_owned()),
        ("ftp", |_| "ftp://x/y".to_owned()),
    ];
    for (name, location) in cases {
        for list in [true, false] {
            let place = Place::answering(move |asked, usual| match asked.is_list() == list {
                true => Reply::redirect(&location(asked)),
                false => usual,
            });
            let error = place.fails(name);
            assert!(matches!(error, HubError::Server { .. }), "{name}: {error}");
            let asked = place.hub.take_asked().len();
            assert!(asked <= 12, "{name}: {asked} requests");
        }
    }
}

#[test]
fn a_redirect_without_an_address_is_an_error() {
    for status in [
        "302 Found",
        "308 Permanent Redirect",
        "304 Not Modified",
        "300 Multiple Choices",
        "305 Use Proxy",
        "204 No Content",
    ] {
        let place = Place::with_file(move |_, _| Reply::status(status));
        let error = place.fails(status);
        assert!(
            matches!(error, HubError::Server { .. }),
            "{status}: {error}"
        );
        assert!(error.to_string().contains(&status[..3]), "{error}");
    }
}

#[test]
fn every_kind_of_redirect_is_followed_ten_times() {
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "303 See Other",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        let place = Place::with_list(move |asked, usual| match asked.path.contains("moved") {
            true => usual,
            false => Reply::status(status).with("Location", &format!("{}&moved", asked.path)),
        });
        place.succeeds(status);
    }
    for (hops, works) in [(9, true), (10, true), (11, false)] {
        let left = AtomicUsize::new(hops);
        let place = Place::with_list(move |asked, usual| {
            let more = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
            match more.is_ok() {
                true => Reply::redirect(&asked.path),
                false => usual,
            }
        });
        assert_eq!(place.fetch().0.is_ok(), works, "{hops} redirects");
    }
}

#[test]
fn a_mirror_may_leave_out_what_it_does_not_know() {
    let place = Place::with_file(|_, usual| {
        usual
            .without("ETag")
            .without("X-Linked-Etag")
            .without("X-Linked-Size")
            .without("X-Repo-Commit")
            .without("Content-Range")
    });
    place.hub.break_after(70_000, 1);
    place.succeeds("no headers, and a range");

    let no_hashes = |entry: &mut serde_json::Value| {
        *entry = serde_json::json!({ "rfilename": entry["rfilename"] });
    };
    let place = Place::with_entry(no_hashes);
    place.hub.break_after(70_000, 1);
    place.succeeds("no sizes and hashes");
    assert!(place.in_cache("blobs").join(sha256(&weights())).is_file());
    place.succeeds("again");

    // Without a hash in the list, that of the redirect counts.
    let place = Place::answering(move |asked, usual| {
        if asked.is_list() {
            let mut list: serde_json::Value = serde_json::from_slice(&usual.body).unwrap();
            no_hashes(&mut list["siblings"][0]);
            return json(&list);
        }
        match asked.path.contains("/cdn/") {
            true => Reply::new("200 OK", &[], &flipped()),
            false => usual,
        }
    });
    let error = place.fails("a flipped byte");
    assert!(matches!(error, HubError::Damaged { .. }), "{error}");

    let place = Place::with_file(|asked, usual| match asked.path.contains("moved") {
        true => usual,
        false => Reply::status("308 Permanent Redirect")
            .with("Location", &format!("{}?moved", asked.path)),
    });
    place.succeeds("308");
}
