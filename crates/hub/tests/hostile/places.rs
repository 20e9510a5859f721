//! Names, headers and links that reach for files outside the cache.

use super::*;

#[test]
fn names_that_leave_the_cache_are_not_files() {
    for name in [
        "../../evil_vae.safetensors",
        "/tmp/evil_vae.safetensors",
        "a/../../../evil_vae.safetensors",
        "..\\evil_vae.safetensors",
        "C:evil_vae.safetensors",
        "x\0evil_vae.safetensors",
        "evil_vae\n.safetensors",
        "\x1b[31mevil_vae.safetensors",
        "",
    ] {
        let place = Place::with_entry(move |entry| entry["rfilename"] = name.into());
        let error = place.fails(name);
        assert!(
            matches!(error, HubError::NoMatch { .. }),
            "{name:?}: {error}"
        );
    }
    for name in ["a".repeat(300), "a/".repeat(2000)] {
        let name = format!("{name}_vae.safetensors");
        let place = Place::new();
        place.hub.publish(REPO, &[(&name, &weights())]);
        let error = place.fails(&name);
        assert!(matches!(error, HubError::NoMatch { .. }), "{error}");
    }
}

#[test]
fn names_with_any_other_character_are_asked_for_as_they_are() {
    for name in [
        "my vae.safetensors",
        "v#1 vae.safetensors",
        "vae?x=1.safetensors",
        "vae%2e%2e.safetensors",
        "vae%20b.safetensors",
        "vä_vae.safetensors",
        "vae+plus.safetensors",
        "vae&a=b.safetensors",
        "vae'q.safetensors",
        "vae[1].safetensors",
        "vae;x.safetensors",
        "sub dir/vae.safetensors",
        "~/vae.safetensors",
        "$HOME/vae.safetensors",
        "-rf_vae.safetensors",
    ] {
        let place = Place::new();
        place.hub.publish(REPO, &[(name, &weights())]);
        place.succeeds(name);
    }
}

#[test]
fn headers_that_are_paths_reach_no_file() {
    for header in ["ETag", "X-Linked-Etag", "X-Repo-Commit"] {
        for path in [
            "absolute",
            "/etc/evil",
            "../../../../victim",
            ".",
            "..",
            "",
            "a\tb",
        ] {
            let place = Place::new();
            let victim = place.home.path().join("victim").display().to_string();
            let value = match path {
                "absolute" => victim,
                path => path.to_owned(),
            };
            place
                .hub
                .answer_with(move |asked, usual| match asked.is_list() {
                    true => usual,
                    false => usual.with(header, &format!("\"{value}\"")),
                });
            place.succeeds(&format!("{header} {path}"));
        }
    }
    for field in ["sha256", "blobId", "sha"] {
        for path in ["/home/victim", "../../../../victim", "", "\x1b[31mx"] {
            let place = Place::with_list(move |_, usual| {
                let mut list: serde_json::Value = serde_json::from_slice(&usual.body).unwrap();
                match field {
                    "sha" => list["sha"] = path.into(),
                    "blobId" => list["siblings"][0]["blobId"] = path.into(),
                    _ => list["siblings"][0]["lfs"]["sha256"] = path.into(),
                }
                json(&list)
            });
            match field {
                "sha" => {
                    let text = place.fails(path).to_string();
                    assert!(!text.contains('\x1b'), "{text}");
                }
                _ => place.succeeds(path),
            }
        }
    }
}

#[cfg(unix)]
#[test]
fn planted_links_are_not_followed() {
    let hash = sha256(&weights());
    let commit = {
        let place = Place::new();
        place.succeeds("to learn the commit");
        std::fs::read_to_string(place.in_cache("refs/main")).unwrap()
    };
    for path in [
        format!("models--o--n/blobs/{hash}.part"),
        format!("models--o--n/blobs/{hash}"),
        format!("models--o--n/blobs/{hash}.lock"),
        format!(".locks/models--o--n/{hash}.lock"),
        "models--o--n/refs/main".to_owned(),
        format!("models--o--n/snapshots/{commit}/{FILE}"),
    ] {
        let place = Place::new();
        let path = place.config.cache.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(place.home.path().join("victim"), &path).unwrap();
        place.succeeds(&path.display().to_string());
    }
    for folder in ["models--o--n/blobs", "models--o--n/snapshots", ".locks"] {
        let place = Place::new();
        let (path, elsewhere) = (
            place.config.cache.join(folder),
            tempfile::tempdir().unwrap(),
        );
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), &path).unwrap();
        let error = place.fails(folder);
        assert!(
            matches!(&error, HubError::Cache { path: at, .. } if *at == path),
            "{error:?}"
        );
        assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    }
}

#[cfg(unix)]
#[test]
fn a_ref_that_cannot_be_written_is_a_warning() {
    let place = Place::new();
    std::fs::create_dir_all(place.in_cache("refs/main")).unwrap();
    let (found, warnings) = place.fetch();
    assert_eq!(std::fs::read(found.unwrap().weights).unwrap(), weights());
    assert!(warnings[0].contains("refs/main"), "{warnings:?}");
}

#[test]
fn an_address_of_the_hub_is_an_id() {
    let place = Place::new();
    let address = format!("{}/{REPO}/blob/main/{FILE}", place.hub.url());
    let found = vae2x_hub::resolve(&address, &place.config, &mut |_| ()).unwrap();
    assert_eq!(std::fs::read(found).unwrap(), weights());
}
