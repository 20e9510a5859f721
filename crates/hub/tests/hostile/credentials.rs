//! Who is told the token, and who must not be.

use super::*;

#[test]
fn the_token_goes_to_the_endpoint_alone() {
    let place = Place::new();
    place.succeeds("an honest hub");
    let asked = place.hub.take_asked();
    let expected = format!("Bearer {TOKEN}");
    assert!(
        asked
            .iter()
            .all(|a| a.authorization.as_ref() == Some(&expected))
    );

    for (what, list) in [("the list", true), ("files", false)] {
        for host in ["127.0.0.1", "localhost"] {
            let other = FakeHub::start();
            other.publish(REPO, &[(FILE, &weights())]);
            let base = other.url().replace("127.0.0.1", host);
            let place = Place::answering(move |asked, usual| match asked.is_list() == list {
                true => Reply::redirect(&format!("{base}{}", asked.path)),
                false => usual,
            });
            place.succeeds(what);
            assert_no_secret(&other.take_asked(), &[TOKEN]);
        }
    }
}

#[test]
fn a_content_server_sees_no_token() {
    let other = FakeHub::start();
    other.publish(REPO, &[(FILE, &weights())]);
    let place = Place::new();
    place.hub.redirect_content_to(&other);
    place.succeeds("content from another host");
    assert_no_secret(&other.take_asked(), &[TOKEN]);
}

#[test]
fn a_token_that_was_dropped_stays_dropped() {
    let other = FakeHub::start();
    let place = Place::new();
    let (there, back) = (other.url(), place.hub.url());
    other.answer_with(move |asked, _| Reply::redirect(&format!("{back}{}?again", asked.path)));
    place.hub.answer_with(move |asked, usual| {
        match asked.is_list() || asked.path.ends_with("?again") {
            true => usual,
            false => Reply::redirect(&format!("{there}{}", asked.path)),
        }
    });
    // The usual answer to "?again" redirects to this hub's content server, which is asked without a token too.
    place.succeeds("there and back");
    let asked = place.hub.take_asked();
    let again = asked.iter().position(|a| a.path.ends_with("?again"));
    assert_no_secret(&asked[again.unwrap()..], &[TOKEN]);
    assert_no_secret(&other.take_asked(), &[TOKEN]);
}

#[test]
fn a_login_in_the_endpoint_is_sent_to_it_and_never_printed() {
    let other = FakeHub::start();
    other.publish(REPO, &[(FILE, &weights())]);
    let mut place = Place::new();
    place.hub.redirect_content_to(&other);
    place.config.endpoint = place
        .hub
        .url()
        .replace("http://", "http://someone:PASSW%6Frd@");
    place.succeeds("a login");
    let asked = place.hub.take_asked();
    let expected = Some("Basic c29tZW9uZTpQQVNTV29yZA=="); // someone:PASSWord
    assert!(asked.iter().all(|a| a.authorization.as_deref() == expected));
    assert_no_secret(&other.take_asked(), &["someone", "PASSW", "c29tZW9u"]);

    for status in [
        "401 Unauthorized",
        "404 Not Found",
        "500 Internal Server Error",
    ] {
        let mut place = Place::answering(move |_, _| Reply::status(status));
        place.config.endpoint = place.hub.url().replace("http://", "http://user:PASSWord@");
        let text = place.fails(status).to_string();
        assert!(!text.contains("PASSWord"), "{text}");
    }
    let mut place = Place::new();
    place.config.endpoint = "http://user:PASSWord@127.0.0.1:1".to_owned();
    let text = place.fails("nobody there").to_string();
    assert!(!text.contains("PASSWord"), "{text}");
    assert!(text.contains("http://127.0.0.1:1"), "{text}");
}

#[test]
fn a_proxy_is_used_and_sees_no_token() {
    let proxy = FakeHub::start();
    proxy.answer_with(|_, _| Reply::status("502 Bad Gateway"));
    let mut place = Place::new();
    let address = proxy.url().replace("http://", "http://user:PASSWord@");
    place.config.proxies = Proxies {
        http: Some(address),
        ..Proxies::default()
    };
    let text = place.fails("a proxy that refuses").to_string();
    assert!(!text.contains("PASSWord"), "{text}");
    let asked = proxy.take_asked();
    assert_no_secret(&asked, &[TOKEN]);
    assert!(asked.iter().all(|a| a.method == "CONNECT"), "{asked:?}");
    assert!(place.hub.take_asked().is_empty());

    place.config.proxies.except = vec!["127.0.0.1".to_owned()];
    place.succeeds("a host without a proxy");
    assert!(proxy.take_asked().is_empty());
}
