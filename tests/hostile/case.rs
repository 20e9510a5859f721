//! A case: files, a command line, and what is right.
//!
//! Beside what a case asks for, a failed run must leave its folder as it was, and no run may change an input or leave a
//! temporary file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use libtest_mimic::{Failed, Trial};

use crate::room::{Outcome, Room, Setting};

/// Resident memory that a run on small files may take, in MiB. Debug builds and the allocator's habits are in it.
const PEAK: u64 = 400;

/// What a run must do.
#[derive(Clone, Copy, PartialEq)]
pub enum Expect {
    /// Fail with a message.
    Error,
    Success,
    /// Either, in good order: with a message if it fails.
    Either,
}
pub use Expect::{Either, Error, Success};

type Make = Box<dyn FnOnce(&Room) + Send>;
type Check = Box<dyn FnOnce(&Room, &Outcome) -> Result<(), String> + Send>;

/// A run of the program on made files.
pub struct Case {
    name: String,
    expect: Expect,
    makes: Vec<Make>,
    args: Vec<String>,
    setting: Setting,
    says: Vec<String>,
    never: Vec<String>,
    peak: u64,
    replaces: Vec<String>,
    goes_on: bool,
    ignored: Vec<&'static str>,
    checks: Vec<Check>,
}

/// A case of a class.
pub fn case(name: impl Into<String>, expect: Expect, args: &[&str]) -> Case {
    Case {
        name: name.into(),
        expect,
        makes: Vec::new(),
        args: args.iter().map(|a| a.to_string()).collect(),
        setting: Setting::default(),
        says: Vec::new(),
        never: Vec::new(),
        peak: PEAK,
        replaces: Vec::new(),
        goes_on: false,
        ignored: Vec::new(),
        checks: Vec::new(),
    }
}

/// A trial that is more than one run.
pub fn trial(
    name: impl Into<String>,
    test: impl FnOnce(&Room) -> Result<(), String> + Send + 'static,
) -> Trial {
    Trial::test(name, move || test(&Room::new()).map_err(Failed::from))
}

impl Case {
    /// A file, made when the case runs.
    pub fn file(
        self,
        name: impl Into<String>,
        bytes: impl FnOnce() -> Vec<u8> + Send + 'static,
    ) -> Self {
        let name = name.into();
        self.make(move |room| room.write(&name, bytes()))
    }

    /// A small file.
    pub fn bytes(self, name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        self.file(name, move || bytes)
    }

    /// Anything else that must be there before the run.
    pub fn make(mut self, make: impl FnOnce(&Room) + Send + 'static) -> Self {
        self.makes.push(Box::new(make));
        self
    }

    pub fn setting(mut self, change: impl FnOnce(&mut Setting)) -> Self {
        change(&mut self.setting);
        self
    }

    /// Words that the run must print, whether it fails or not.
    pub fn says(mut self, words: impl Into<String>) -> Self {
        self.says.push(words.into());
        self
    }

    /// Words that it must not print.
    pub fn never(mut self, words: impl Into<String>) -> Self {
        self.never.push(words.into());
        self
    }

    /// MiB of resident memory that the run may take.
    pub fn peak(mut self, mib: u64) -> Self {
        self.peak = mib;
        self
    }

    /// A file that was there and that a successful run may replace.
    pub fn replaces(mut self, name: &str) -> Self {
        self.replaces.push(name.into());
        self
    }

    /// The run goes on after what fails, and keeps what it made of the rest.
    pub fn goes_on(mut self) -> Self {
        self.goes_on = true;
        self
    }

    /// An entry of the folder whose changes are not looked at.
    pub fn ignores(mut self, name: &'static str) -> Self {
        self.ignored.push(name);
        self
    }

    /// What else must be true after the run.
    pub fn check(
        mut self,
        check: impl FnOnce(&Room, &Outcome) -> Result<(), String> + Send + 'static,
    ) -> Self {
        self.checks.push(Box::new(check));
        self
    }

    fn run(self) -> Result<(), String> {
        let room = Room::new();
        for make in self.makes {
            make(&room);
        }
        let listing = || {
            let mut found = listing(room.folder());
            found.retain(|path, _| {
                !self
                    .ignored
                    .iter()
                    .any(|name| path.starts_with(room.path(name)))
            });
            found
        };
        let before = listing();
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        let outcome = room.launch(&args, &self.setting);
        let mut faults = outcome.faults();
        let text = outcome.text();
        match (self.expect, outcome.code) {
            (Error, Some(0)) => faults.push("is accepted".into()),
            (Success, Some(1 | 2)) => faults.push("is refused".into()),
            _ => {}
        }
        faults.extend(
            self.says
                .iter()
                .filter(|w| !text.contains(*w))
                .map(|w| format!("does not say '{w}'")),
        );
        faults.extend(
            self.never
                .iter()
                .filter(|w| text.contains(*w))
                .map(|w| format!("says '{}'", w.escape_debug())),
        );
        if outcome.peak > self.peak {
            faults.push(format!(
                "takes {} MiB, more than {}",
                outcome.peak, self.peak
            ));
        }
        let failed = outcome.code != Some(0) && !self.goes_on;
        faults.extend(changes(&before, &listing(), failed, &self.replaces, &args));
        for check in self.checks {
            faults.extend(check(&room, &outcome).err());
        }
        if faults.is_empty() {
            return Ok(());
        }
        Err(format!("{}\n  {}", faults.join("; "), outcome.describe()))
    }
}

impl From<Case> for Trial {
    fn from(case: Case) -> Self {
        let name = case.name.escape_debug().to_string();
        Trial::test(name, move || case.run().map_err(Failed::from))
    }
}

/// What is known of an entry of a folder: its size, time of change and permissions.
type Entry = (u64, SystemTime, u32);

/// Everything in a folder, links not followed.
pub fn listing(folder: &Path) -> BTreeMap<PathBuf, Entry> {
    use std::os::unix::fs::PermissionsExt;
    let mut found = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for path in entries.flatten().map(|e| e.path()) {
            let Ok(of) = path.symlink_metadata() else {
                continue;
            };
            // A folder changes with what is in it.
            let entry = if of.is_dir() {
                waiting.push(path.clone());
                (0, SystemTime::UNIX_EPOCH, 0)
            } else {
                (
                    of.len(),
                    of.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                    of.permissions().mode(),
                )
            };
            found.insert(path, entry);
        }
    }
    found
}

fn changes(
    before: &BTreeMap<PathBuf, Entry>,
    after: &BTreeMap<PathBuf, Entry>,
    failed: bool,
    replaces: &[String],
    args: &[&str],
) -> Vec<String> {
    let name = |path: &Path| {
        path.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    let mut faults = Vec::new();
    for (path, entry) in before {
        let may = !failed && replaces.iter().any(|r| path.ends_with(r));
        match after.get(path) {
            None => faults.push(format!("removes {}", name(path))),
            Some(now) if now != entry && !may => faults.push(format!("changes {}", name(path))),
            _ => {}
        }
    }
    for path in after.keys().filter(|path| !before.contains_key(*path)) {
        let hidden = name(path).starts_with('.')
            && name(path) != ".lock"
            && !args.contains(&name(path).as_str());
        let temporary = hidden || name(path).contains(".tmp");
        if failed || temporary {
            faults.push(format!("leaves {}", name(path).escape_debug()));
        }
    }
    faults
}
