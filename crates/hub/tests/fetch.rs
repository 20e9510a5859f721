//! Fetching from a hub on 127.0.0.1 into a temporary cache.

use std::path::{Path, PathBuf};

use vae2x_hub::testing::FakeHub;
use vae2x_hub::{Event, HubConfig, HubError, Limits, Resolved, Source};

const REPO: &str = "owner/vae2x";
const FOLDER: &str = "diffusers/model_v1";

/// A hub, a home folder, and how to ask.
struct Place {
    hub: FakeHub,
    home: tempfile::TempDir,
    config: HubConfig,
}

impl Place {
    fn new() -> Self {
        let (hub, home) = (FakeHub::start(), tempfile::tempdir().unwrap());
        let config = HubConfig {
            endpoint: hub.url(),
            limits: Limits {
                pause: std::time::Duration::from_millis(5),
                ..Limits::default()
            },
            ..HubConfig::at_home(home.path())
        };
        Self { hub, home, config }
    }

    /// A hub with a repository laid out as that of the published 2x decoder.
    fn with_model() -> Self {
        let place = Self::new();
        place.publish("first");
        place
    }

    /// Publishes the model with another README, as a new commit.
    fn publish(&self, readme: &str) {
        self.hub.publish(
            REPO,
            &[
                ("README.md", readme.as_bytes()),
                ("model_v1.safetensors", b"the same weights under other keys"),
                (
                    &format!("{FOLDER}/config.json"),
                    br#"{"_class_name": "AutoencoderKLWan"}"#,
                ),
                (
                    &format!("{FOLDER}/diffusion_pytorch_model.safetensors"),
                    &weights(),
                ),
            ],
        );
    }

    fn fetch(&self, id: &str) -> Result<Resolved, HubError> {
        fetch(id, &self.config)
    }

    /// The error, which fits on one line.
    fn error(&self, id: &str) -> HubError {
        one_line(self.fetch(id).unwrap_err())
    }

    fn offline(&self) -> HubConfig {
        HubConfig {
            offline: true,
            ..self.config.clone()
        }
    }

    /// The paths asked for since the last call.
    fn asked(&self) -> Vec<String> {
        self.hub.take_asked().into_iter().map(|a| a.path).collect()
    }
}

fn fetch(id: &str, config: &HubConfig) -> Result<Resolved, HubError> {
    match Source::parse(id)? {
        Source::Hub(id) => vae2x_hub::fetch(&id, config, &mut |_| ()),
        Source::Local(path) => panic!("{} is local", path.display()),
    }
}

/// The error again, which must fit on one line.
fn one_line(error: HubError) -> HubError {
    let message = error.to_string();
    assert!(!message.contains('\n'), "{message}");
    error
}

fn weights() -> Vec<u8> {
    (0..300_000_u32).flat_map(u32::to_le_bytes).collect()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path());
    entries
        .flat_map(|p| if p.is_dir() { files_below(&p) } else { vec![p] })
        .collect()
}

#[test]
fn a_fresh_fetch_fills_the_usual_cache() {
    let place = Place::with_model();
    let mut seen = Vec::new();
    let Source::Hub(id) = Source::parse(REPO).unwrap() else {
        panic!("not a hub id")
    };
    let found = vae2x_hub::fetch(&id, &place.config, &mut |event| match event {
        Event::Transfer(t) => seen.push((t.file.to_owned(), t.done, t.total)),
        Event::Warning(text) => panic!("{text}"),
    })
    .unwrap();

    assert!(
        found.path.ends_with(FOLDER) && found.path.is_dir(),
        "{found:?}"
    );
    assert_eq!(
        found.weights,
        found.path.join("diffusion_pytorch_model.safetensors")
    );
    assert_eq!(found.config, Some(found.path.join("config.json")));
    assert_eq!(std::fs::read(&found.weights).unwrap(), weights());

    let root = place.home.path().join("hub/models--owner--vae2x");
    let commit = std::fs::read_to_string(root.join("refs/main")).unwrap();
    assert_eq!(found.path, root.join("snapshots").join(commit).join(FOLDER));
    assert!(
        files_below(&root)
            .iter()
            .all(|f| f.extension().is_none_or(|e| e != "part"))
    );

    let (file, total) = (
        format!("{FOLDER}/diffusion_pytorch_model.safetensors"),
        weights().len() as u64,
    );
    assert_eq!(seen.last(), Some(&(file, total, total)));
    assert!(seen.iter().any(|(_, done, total)| done < total));
}

#[test]
fn a_second_fetch_asks_for_the_list_alone() {
    let place = Place::with_model();
    let first = place.fetch(REPO).unwrap();
    assert!(place.asked().len() > 1);
    assert_eq!(place.fetch(REPO).unwrap(), first);
    assert_eq!(
        place.asked(),
        [format!("/api/models/{REPO}/revision/main?blobs=true")]
    );
}

#[test]
fn a_new_commit_reuses_the_blobs_of_the_old_one() {
    let place = Place::with_model();
    let first = place.fetch(REPO).unwrap();
    place.publish("a better README");
    drop(place.hub.take_asked());
    let second = place.fetch(REPO).unwrap();
    assert_ne!(second.path, first.path);
    assert_eq!(std::fs::read(&second.weights).unwrap(), weights());
    assert_eq!(place.asked().len(), 1, "only the list");
    assert_eq!(fetch(REPO, &place.offline()).unwrap(), second);
}

#[test]
fn a_broken_transfer_goes_on_where_it_broke() {
    let place = Place::with_model();
    place.hub.break_after(70_000, 1);
    let found = place.fetch(REPO).unwrap();
    assert_eq!(std::fs::read(found.weights).unwrap(), weights());
    assert!(ranges(&place).contains(&"bytes=70000-".to_owned()));
}

#[test]
fn a_later_call_goes_on_where_an_earlier_one_gave_up() {
    let place = Place::with_model();
    place.hub.break_after(70_000, 3);
    let error = place.error(REPO);
    assert!(
        matches!(
            &error,
            HubError::Broken { id, file, .. }
                if id.repo == REPO && file.ends_with("diffusion_pytorch_model.safetensors")
        ),
        "{error:?}"
    );
    assert!(
        fetch(REPO, &place.offline()).is_err(),
        "half a file is no file"
    );

    drop(place.hub.take_asked());
    let found = place.fetch(REPO).unwrap();
    assert_eq!(std::fs::read(found.weights).unwrap(), weights());
    assert!(ranges(&place).contains(&"bytes=210000-".to_owned()));
}

/// The ranges asked for since the last call.
fn ranges(place: &Place) -> Vec<String> {
    let asked = place.hub.take_asked().into_iter();
    asked.filter_map(|a| a.range).collect()
}

#[test]
fn a_server_that_ignores_ranges_cannot_spoil_the_file() {
    let place = Place::with_model();
    place.hub.ignore_ranges();
    place.hub.break_after(70_000, 1);
    let found = place.fetch(REPO).unwrap();
    assert_eq!(std::fs::read(found.weights).unwrap(), weights());
}

#[test]
fn a_full_part_left_by_a_killed_program_is_no_obstacle() {
    let place = Place::with_model();
    place.hub.break_after(70_000, 3);
    place.error(REPO);
    let is_part = |f: &PathBuf| f.extension().is_some_and(|e| e == "part");
    let part = files_below(place.home.path())
        .into_iter()
        .find(is_part)
        .unwrap();
    std::fs::write(&part, weights()).unwrap();
    assert_eq!(
        std::fs::read(place.fetch(REPO).unwrap().weights).unwrap(),
        weights()
    );
    assert!(!part.exists());
}

#[test]
fn a_damaged_file_of_the_cache_is_fetched_again() {
    let place = Place::with_model();
    let found = place.fetch(REPO).unwrap();
    std::fs::write(std::fs::canonicalize(&found.weights).unwrap(), b"short").unwrap();
    assert_eq!(
        std::fs::read(place.fetch(REPO).unwrap().weights).unwrap(),
        weights()
    );
}

#[test]
fn offline_uses_the_cache_alone() {
    let place = Place::with_model();
    let found = place.fetch(REPO).unwrap();
    drop(place.hub.take_asked());
    assert_eq!(fetch(REPO, &place.offline()).unwrap(), found);
    assert_eq!(
        fetch(&format!("{REPO}:{FOLDER}"), &place.offline()).unwrap(),
        found
    );

    for id in [
        "owner/other",
        &format!("{REPO}:model_v1.safetensors"),
        &format!("{REPO}@v2"),
    ] {
        let error = one_line(fetch(id, &place.offline()).unwrap_err());
        assert!(
            matches!(&error, HubError::NotCached { id: of, .. } if of.to_string() == id),
            "{error:?}"
        );
    }
    assert_eq!(place.asked(), Vec::<String>::new());
}

#[test]
fn without_a_network_the_cache_answers_or_the_error_names_the_endpoint() {
    let place = Place::with_model();
    let found = place.fetch(REPO).unwrap();
    let (url, config) = (place.hub.url(), place.config.clone());
    drop(place.hub);
    assert_eq!(fetch(REPO, &config).unwrap(), found);
    for id in ["owner/other", &format!("{REPO}:model_v1.safetensors")] {
        let error = one_line(fetch(id, &config).unwrap_err());
        assert!(
            matches!(
                &error,
                HubError::NoNetwork { id: of, endpoint, .. }
                    if of.to_string() == id && *endpoint == url
            ),
            "{error:?}"
        );
    }
}

#[test]
fn a_missing_repository_is_named() {
    let place = Place::with_model();
    for id in ["owner/gone", &format!("{REPO}@gone")] {
        let error = place.error(id);
        assert!(
            matches!(&error, HubError::NoRepo { id: of, .. } if of.to_string() == id),
            "{error:?}"
        );
    }
    assert!(
        files_below(place.home.path()).is_empty(),
        "nothing is left behind"
    );
}

#[test]
fn private_and_gated_repositories_ask_for_a_token() {
    for gated in [false, true] {
        let place = Place::with_model();
        match gated {
            true => place.hub.make_gated(REPO, "hf_right"),
            false => place.hub.make_private(REPO, "hf_right"),
        }
        let denied = place.error(REPO);
        assert!(
            matches!(
                &denied,
                HubError::Denied { id, status: 401, with_token: false, .. } if id.repo == REPO
            ),
            "{denied:?}"
        );
        let wrong = HubConfig {
            token: Some("hf_wrong".into()),
            ..place.config.clone()
        };
        let error = fetch(REPO, &wrong).unwrap_err();
        assert!(
            matches!(
                error,
                HubError::Denied {
                    status: 401,
                    with_token: true,
                    ..
                }
            ),
            "{error}"
        );
        assert!(!error.to_string().contains("hf_wrong"), "{error}");

        drop(place.hub.take_asked());
        let right = HubConfig {
            token: Some("hf_right".into()),
            ..place.config.clone()
        };
        assert_eq!(
            std::fs::read(fetch(REPO, &right).unwrap().weights).unwrap(),
            weights()
        );
        let asked = place.hub.take_asked();
        assert!(
            asked
                .iter()
                .all(|a| a.authorization.as_deref() == Some("Bearer hf_right")
                    || a.path.starts_with("/cdn"))
        );
    }
}

#[test]
fn an_ambiguous_repository_lists_its_models() {
    let place = Place::new();
    place.hub.publish(
        "owner/many",
        &[
            ("one.safetensors", b"1"),
            ("two.pth", b"22"),
            ("README.md", b""),
        ],
    );
    let error = place.error("owner/many");
    assert!(
        matches!(
            &error,
            HubError::Ambiguous { id, candidates }
                if id.repo == "owner/many" && *candidates == ["one.safetensors", "two.pth"]
        ),
        "{error:?}"
    );
    let found = place.fetch("owner/many:two.pth").unwrap();
    assert_eq!(
        (std::fs::read(&found.path).unwrap(), found.config),
        (b"22".to_vec(), None)
    );
    let error = place.error("owner/many:three.pth");
    assert!(
        matches!(
            &error,
            HubError::NoMatch { id, found }
                if id.inner.as_deref() == Some("three.pth")
                    && found.iter().any(|file| file == "one.safetensors")
        ),
        "{error:?}"
    );
}

#[test]
fn a_diffusion_model_at_the_root_is_not_downloaded() {
    let place = Place::new();
    let files: [(&str, &[u8]); 3] = [
        ("config.json", br#"{"_class_name": "WanModel"}"#),
        ("diffusion_pytorch_model.safetensors", b"five gigabytes"),
        ("Wan2.1_VAE.pth", b"the VAE"),
    ];
    place.hub.publish("owner/wan", &files);
    assert!(
        place
            .fetch("owner/wan")
            .unwrap()
            .path
            .ends_with("Wan2.1_VAE.pth")
    );
    assert!(
        place
            .asked()
            .iter()
            .all(|path| !path.contains("diffusion_pytorch_model"))
    );
}

#[test]
fn a_commit_can_be_named_and_resolve_gives_the_path() {
    let place = Place::with_model();
    let main = place.fetch(REPO).unwrap();
    let commit =
        std::fs::read_to_string(place.home.path().join("hub/models--owner--vae2x/refs/main"))
            .unwrap();
    let argument = format!("{REPO}@{commit}:{FOLDER}");
    assert_eq!(
        vae2x_hub::resolve(&argument, &place.config, &mut |_| ()).unwrap(),
        main.path
    );
    assert_eq!(
        vae2x_hub::resolve(&argument, &place.offline(), &mut |_| ()).unwrap(),
        main.path
    );
    let local = main.weights.to_str().unwrap();
    assert_eq!(
        vae2x_hub::resolve(local, &place.config, &mut |_| ()).unwrap(),
        main.weights
    );
}

#[test]
fn two_calls_at_once_both_get_the_model() {
    let place = Place::with_model();
    let found = std::thread::scope(|scope| {
        let calls = [(); 2].map(|()| scope.spawn(|| place.fetch(REPO).unwrap()));
        calls.map(|call| call.join().unwrap())
    });
    assert_eq!(found[0], found[1]);
    assert_eq!(std::fs::read(&found[0].weights).unwrap(), weights());
}

#[test]
fn an_unwritable_cache_is_named() {
    let place = Place::with_model();
    std::fs::write(
        place.home.path().join("hub"),
        b"a file where a folder should be",
    )
    .unwrap();
    let error = place.error(REPO);
    assert!(
        matches!(&error, HubError::Cache { path, .. } if path.starts_with(place.home.path())),
        "{error:?}"
    );
}
