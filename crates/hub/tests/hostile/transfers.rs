//! Transfers that break, stall or wait for another program.

use super::*;

#[test]
fn transfers_that_break_are_taken_up_again() {
    for delivery in [Delivery::CutAfter(50_000), Delivery::HangUp] {
        let times = AtomicUsize::new(0);
        let place =
            Place::with_file(
                move |_, usual| match times.fetch_add(1, Ordering::SeqCst) < 2 {
                    true => usual.sent(delivery),
                    false => usual,
                },
            );
        place.succeeds("two breaks");
    }
    for (name, delivery) in [
        ("always cut", Delivery::CutAfter(1000)),
        ("always closed", Delivery::HangUp),
    ] {
        let place = Place::with_file(move |_, usual| usual.sent(delivery));
        let error = place.fails(name);
        assert!(matches!(error, HubError::Broken { .. }), "{name}: {error}");
    }
    // Far more breaks than attempts, each after a good part of the file.
    let big: Vec<u8> = vec![7; 8 << 20];
    let place = Place::new();
    place.hub.publish(REPO, &[(FILE, &big)]);
    place.hub.break_after((1 << 20) + 1, 7);
    let found = place.fetch().0.unwrap();
    assert_eq!(std::fs::read(found.weights).unwrap(), big);
}

#[test]
fn a_content_server_whose_address_expired_is_asked_for_again() {
    let other = FakeHub::start();
    other.publish(REPO, &[(FILE, &weights())]);
    let times = AtomicUsize::new(0);
    other.answer_with(move |_, usual| match times.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::new("403 Forbidden", &[("X-Error-Code", "GatedRepo")], b""),
        _ => usual,
    });
    let place = Place::new();
    place.hub.redirect_content_to(&other);
    place.succeeds("an expired address");
    other.answer_with(|_, _| Reply::status("403 Forbidden"));
    let place = Place::new();
    place.hub.redirect_content_to(&other);
    let error = place.fails("a content server that refuses");
    assert!(matches!(error, HubError::Broken { .. }), "{error}");
    assert!(error.to_string().contains(&other.url()), "{error}");
}

#[test]
fn another_range_than_asked_for_is_not_taken() {
    let place = Place::with_file(|asked, usual| match asked.from() {
        0 => usual,
        _ => usual.with("Content-Range", "bytes 5-199999/200000"),
    });
    place.hub.break_after(70_000, 1);
    place.succeeds("a wrong range");
    let place = Place::with_file(|asked, usual| match asked.from() {
        0 => usual,
        _ => Reply::status("416 Range Not Satisfiable"),
    });
    place.hub.break_after(70_000, 1);
    place.succeeds("no ranges");
}

#[test]
fn what_stalls_ends() {
    let drip = Delivery::Drip(Duration::from_millis(50));
    let files = Delivery::StallAfter(1000);
    let cases = [
        ("the list says nothing", true, Delivery::Silence),
        ("the list stops", true, Delivery::StallAfter(10)),
        ("the list drips", true, drip),
        ("a file says nothing", false, Delivery::Silence),
        ("a file stops", false, files),
        ("a file drips", false, drip),
        ("a file has headers alone", false, Delivery::StallAfter(0)),
    ];
    let ends = |(name, list, delivery): (&str, bool, Delivery)| {
        let mut place = Place::answering(move |asked, usual| {
            match asked.is_list() == list && !asked.path.contains("/resolve/") {
                true => usual.sent(delivery),
                false => usual,
            }
        });
        place.config.limits = LIMITS;
        let started = Instant::now();
        let error = place.fails(name);
        let took = started.elapsed();
        assert!(
            matches!(error, HubError::NoNetwork { .. } | HubError::Broken { .. }),
            "{name}: {error}"
        );
        assert!(took < Duration::from_secs(15), "{name}: {took:?}");
    };
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(move || ends(case));
        }
    });
}

#[test]
fn a_stalled_hub_does_not_hold_a_cached_model_up() {
    let mut place = Place::new();
    place.succeeds("to fill the cache");
    place.config.limits = LIMITS;
    place
        .hub
        .answer_with(|_, usual| usual.sent(Delivery::Silence));
    place.uses_the_cache("silence");
}

#[test]
fn a_second_program_waits_for_the_first() {
    let place = Place::with_file(|asked, usual| match asked.path.contains("/cdn/") {
        true => {
            std::thread::sleep(Duration::from_millis(500));
            usual
        }
        false => usual,
    });
    std::thread::scope(|scope| {
        let calls = [(); 3].map(|()| scope.spawn(|| place.fetch().0.unwrap()));
        for call in calls {
            let found = call.join().unwrap();
            assert_eq!(std::fs::read(found.weights).unwrap(), weights());
        }
    });
    let asked = place.hub.take_asked();
    let files = asked.iter().filter(|a| a.path.contains("/cdn/")).count();
    assert_eq!(files, 1, "the file comes once");
}

#[cfg(unix)]
#[test]
fn a_program_that_holds_the_lock_and_does_nothing_is_named() {
    let mut place = Place::new();
    place.config.limits = Limits {
        silence: Duration::from_millis(100),
        ..PATIENT
    };
    let lock = place
        .config
        .cache
        .join(".locks/models--o--n")
        .join(format!("{}.lock", sha256(&weights())));
    std::fs::create_dir_all(lock.parent().unwrap()).unwrap();
    let held = std::fs::File::create(&lock).unwrap();
    held.lock().unwrap();
    let error = place.fails("a held lock");
    assert!(
        matches!(&error, HubError::Busy { lock: at, .. } if *at == lock),
        "{error:?}"
    );
    drop(held);
    place.succeeds("the lock is free");
}
