//! Bytes that are not those of the list.

use super::*;

#[test]
fn one_flipped_byte_is_noticed() {
    let place = Place::with_file(|asked, _| {
        Reply::new("206 Partial Content", &[], &flipped()[asked.from()..])
    });
    let error = place.fails("a flipped byte");
    assert!(
        matches!(
            &error,
            HubError::Damaged { file, found, listed, .. }
                if file == FILE && *found == sha256(&flipped()) && *listed == sha256(&weights())
        ),
        "{error:?}"
    );
    let left = files_below(&place.in_cache("blobs"));
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(
        place.hub.take_asked().len(),
        3,
        "the list, and the file twice"
    );

    let times = AtomicUsize::new(0);
    let place = Place::with_file(move |asked, usual| {
        match asked.path.contains("/cdn/") && times.fetch_add(1, Ordering::SeqCst) == 0 {
            true => Reply::new("206 Partial Content", &[], &flipped()[asked.from()..]),
            false => usual,
        }
    });
    place.succeeds("a byte flipped once");
}

#[test]
fn small_files_have_a_hash_too() {
    let config: &[u8] = br#"{"_class_name": "AutoencoderKLWan", "z_dim": 16}"#;
    let files = [
        ("config.json", config),
        ("diffusion_pytorch_model.safetensors", &weights()),
    ];
    let place = Place::new();
    place.hub.publish(REPO, &files);
    place.succeeds("a diffusers model");

    let place = Place::with_file(|asked, usual| match asked.path.contains("resolve-cache") {
        true => Reply::new(
            "206 Partial Content",
            &[],
            br#"{"_class_name": "AutoencoderKLWan", "z_dim": 61}"#,
        ),
        false => usual,
    });
    place.hub.publish(REPO, &files);
    let error = place.fails("another config");
    assert!(
        matches!(&error, HubError::Damaged { file, kind: "git hash", .. } if file == "config.json"),
        "{error:?}"
    );
}

#[test]
fn a_part_that_is_not_what_it_should_be_heals() {
    let zeros_behind = [&weights()[..100_000], &[0; 50_000]].concat();
    for (name, part) in [
        ("zeros", vec![0; 100_000]),
        ("a tail of zeros", zeros_behind),
        ("longer than the file", vec![0; weights().len() + 5]),
        ("as long as the file", vec![0; weights().len()]),
        ("the whole file", weights()),
        ("a part of the file", weights()[..70_001].to_vec()),
        ("nothing", Vec::new()),
    ] {
        let place = Place::new();
        place.plant_part(&part);
        place.succeeds(name);
        assert!(!place.part().exists(), "{name}");
    }
    let place = Place::new();
    std::fs::create_dir_all(place.part()).unwrap();
    let error = place.fails("a folder");
    assert!(
        matches!(&error, HubError::Cache { path, .. } if *path == place.part()),
        "{error:?}"
    );
}

#[test]
fn sizes_that_lie_are_noticed() {
    for size in [0, 1000, 1 << 40, u64::MAX] {
        let place = Place::with_entry(move |entry| entry["size"] = size.into());
        let error = place.fails("another size");
        assert!(
            matches!(error, HubError::Server { .. } | HubError::Damaged { .. }),
            "{size}: {error}"
        );
    }
    let place = Place::with_entry(|entry| entry["size"] = (-1).into());
    place.fails("a negative size");
    let place = Place::with_entry(|entry| entry["size"] = serde_json::Value::Null);
    place.succeeds("no size beside that of the large file");

    let place = Place::with_file(|_, usual| {
        usual.with("Content-Range", "bytes 0-199999/9223372036854775807")
    });
    place.fails("a huge range");
    let place = Place::with_file(|_, usual| {
        let longer = weights().len() + 100;
        usual
            .without("Content-Range")
            .with("Content-Length", &longer.to_string())
    });
    place.fails("a body that ends early");
}

#[test]
fn an_endless_body_ends_at_the_listed_size() {
    let place = Place::with_file(|asked, usual| match asked.path.contains("/cdn/") {
        true => {
            let body = [weights(), vec![0; 4 << 20]].concat();
            Reply::new("206 Partial Content", &[], &body[asked.from()..]).without("Content-Length")
        }
        false => usual,
    });
    let error = place.fails("too many bytes");
    assert!(matches!(error, HubError::Server { .. }), "{error}");
    let kept: u64 = files_below(&place.config.cache)
        .iter()
        .map(|f| f.metadata().unwrap().len())
        .sum();
    assert!(kept <= weights().len() as u64, "{kept} bytes are kept");
}

#[test]
fn what_is_compressed_is_refused() {
    for list in [true, false] {
        let place = Place::answering(move |asked, usual| match asked.is_list() == list {
            true => usual.with("Content-Encoding", "gzip"),
            false => usual,
        });
        let error = place.fails("gzip");
        assert!(error.to_string().contains("compressed"), "{error}");
        let asked = place.hub.take_asked();
        assert!(
            asked
                .iter()
                .all(|a| a.header("accept-encoding") == Some("identity"))
        );
    }
}

#[test]
fn an_empty_file_has_no_first_byte() {
    let place = Place::new();
    place.hub.publish(REPO, &[(FILE, b"")]);
    let found = place.fetch().0.unwrap();
    assert_eq!(std::fs::read(found.weights).unwrap(), b"");
    let place = Place::with_entry(|entry| {
        *entry = serde_json::json!({ "rfilename": entry["rfilename"] });
    });
    place.hub.publish(REPO, &[(FILE, b"")]);
    assert!(place.fetch().0.is_ok());
}

#[test]
fn a_damaged_blob_in_the_cache_is_fetched_again() {
    let place = Place::new();
    place.succeeds("to fill the cache");
    let blob = place.in_cache("blobs").join(sha256(&weights()));
    std::fs::write(&blob, &weights()[..1000]).unwrap();
    place.succeeds("a blob that is cut");
    std::fs::remove_file(&blob).unwrap();
    place.succeeds("a blob that is gone");
}

/// What `fuzz/fuzz_targets/hub_answers.rs` does for longer.
#[test]
fn any_bytes_are_an_answer_or_an_error() {
    let hash = sha256(b"");
    let list = format!(
        r#"{{"sha":"{}","siblings":[{{"rfilename":"a/b.pth","size":9,"blobId":"{}","lfs":{{"sha256":"{hash}"}}}}]}}"#,
        &hash[..40],
        &hash[..40]
    );
    let seeds = [
        list.as_str(),
        "bytes 5-9/10",
        &format!("W/\"{hash}\""),
        "https://user:word@cdn.example:8080/a/b%20c?d=e#f",
        "//[::1]:80/a/../b",
        "?x=1",
        "owner/name@refs/pr/1:folder/file.safetensors",
        "https://huggingface.co/o/n/resolve/refs%2Fpr%2F1/dir/my%20vae.pth?download=true",
    ];
    const MARKS: &[u8] = b"/:@.%#?[]\"{}\\ \0-";
    let mut state = 1_u64;
    let mut below = |limit: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % limit.max(1)
    };
    for round in 0..20_000 {
        let mut bytes = seeds[round % seeds.len()].as_bytes().to_vec();
        for _ in 0..below(6) {
            let at = below(bytes.len());
            match below(4) {
                0 => bytes[at] = below(256) as u8,
                1 => bytes.truncate(at + 1),
                2 => bytes.insert(at, MARKS[below(MARKS.len())]),
                _ => bytes.extend_from_within(at..),
            }
        }
        read_anything(&bytes);
    }
}
