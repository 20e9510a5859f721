//! Closed and full streams, full and read-only disks, other users, folders that vanish.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use libtest_mimic::Trial;

use crate::case::{Case, Either, Error, Success, case, trial};
use crate::make::png;
use crate::make::tensors::{latent, latent8};
use crate::outputs::decode;
use crate::room::{PROGRAM, Room, Setting};

pub fn cases() -> Vec<Trial> {
    let mut cases = streams();
    cases.extend(limits());
    cases.extend(vanishing());
    cases.extend(surroundings());
    let mut trials: Vec<Trial> = cases.into_iter().map(Trial::from).collect();
    trials.extend(disks());
    trials.extend(users());
    trials
}

fn streams() -> Vec<Case> {
    let redirected = |to: &str, expect| {
        let case = decode(&format!("with {to}"), expect, "o.png")
            .setting(|s| s.redirected = to.to_owned());
        case.check(|room, _| {
            let image = room.read("o.png");
            let whole = image.starts_with(b"\x89PNG") && image.ends_with(b"IEND\xaeB`\x82");
            if whole {
                Ok(())
            } else {
                Err("the image is not there".into())
            }
        })
    };
    let mut cases: Vec<Case> = [
        ">&-",
        "2>&-",
        ">&- 2>&-",
        "<&-",
        "<&- >&- 2>&-",
        "2>/dev/full",
    ]
    .map(|to| redirected(to, Success))
    .into();
    // The image is written; its name cannot be printed.
    cases.push(redirected(">/dev/full", Either).goes_on());
    for args in [
        &["info", "latent8.latent"][..],
        &["info", "--json", "demo:2x"],
        &["--help"],
    ] {
        let piped = |s: &mut Setting| {
            s.before = "set -o pipefail; ".into();
            s.redirected = "| head -c 5".into();
            s.after = ":".into();
        };
        cases.push(
            case(format!("outputs {} | head", args.join(" ")), Success, args)
                .bytes("latent8.latent", latent8())
                .setting(piped),
        );
    }
    cases
}

/// A limit on sizes of files, whose signal ends a program that does not expect it.
fn limits() -> Vec<Case> {
    ["npy", "png"]
        .map(|ending| {
            let output = format!("o.{ending}");
            let case = case(
                format!("outputs file limit, {ending}"),
                Error,
                &["decode", "l.latent", "--vae", "demo:2x", "-o", &output],
            );
            case.file("l.latent", || latent([1, 1, 48, 48], 1))
                .setting(|s| s.before = "ulimit -f 100; ".into())
                .says(output)
        })
        .into()
}

fn temporary(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut d| {
        d.any(|e| e.is_ok_and(|e| e.file_name().to_string_lossy().contains(".tmp")))
    })
}

/// The place of the output changes while it is computed.
fn vanishing() -> Vec<Case> {
    let large = |name: &str, output: &str| {
        let case = case(
            format!("outputs {name}"),
            Error,
            &["decode", "l.latent", "--vae", "demo:2x", "-o", output],
        );
        case.file("l.latent", || latent([1, 1, 64, 64], 1))
    };
    vec![
        large("a folder that vanishes meanwhile", "van/o.png")
            .make(|room| fs::create_dir(room.path("van")).expect("a folder"))
            .ignores("van")
            .setting(|s| {
                s.meanwhile = Some(|folder| {
                    temporary(&folder.join("van")) && fs::remove_dir_all(folder.join("van")).is_ok()
                })
            }),
        large("a name that becomes a folder meanwhile", "turn.png")
            .ignores("turn.png")
            .setting(|s| {
                s.meanwhile = Some(|folder| {
                    temporary(folder) && fs::create_dir(folder.join("turn.png")).is_ok()
                })
            }),
    ]
}

fn surroundings() -> Vec<Case> {
    let gone = |output: &str| {
        let case = decode(
            &format!("working folder gone, output {output}"),
            Error,
            output,
        );
        case.setting(|s| s.before = "mkdir gone; cd gone; rmdir ../gone; ".into())
            .says("error: ")
    };
    let clean = |s: &mut Setting| {
        s.before =
            "for v in $(compgen -e); do unset $v; done; HF_HUB_OFFLINE=1; export HF_HUB_OFFLINE; "
                .into()
    };
    vec![
        gone("rel.png"),
        decode("without an environment", Success, "o.png").setting(clean),
        case(
            "outputs a hub id without an environment",
            Error,
            &["info", "o/n"],
        )
        .setting(clean),
    ]
}

/// What is done on a disk of its own, mounted at `mnt` in a namespace of its own.
struct Disk {
    name: &'static str,
    /// Options of the mount.
    options: &'static str,
    /// Shell commands that fill it.
    fill: &'static str,
    args: &'static [&'static str],
    /// A file that is there, and must be afterwards.
    old: &'static str,
    says: &'static str,
}

const FULL: &str = "head -c 1m /dev/zero > mnt/fill 2>/dev/null; ";
const SMALL: Disk = Disk {
    name: "",
    options: "size=256k",
    fill: "",
    args: &[],
    old: "",
    says: "",
};

fn disks() -> Vec<Trial> {
    let filled = Disk {
        fill: FULL,
        ..SMALL
    };
    let base: &[&str] = &[
        "decode",
        "latent8.latent",
        "--vae",
        "demo:base",
        "-o",
        "mnt/o.png",
    ];
    let folder: &[&str] = &[
        "decode",
        "latent8.latent",
        "--vae",
        "demo:base",
        "-o",
        "mnt/d/",
    ];
    [
        Disk {
            name: "decode to PNG",
            args: &[
                "decode",
                "big.latent",
                "--vae",
                "demo:2x",
                "-o",
                "mnt/o.png",
            ],
            old: "o.png",
            ..SMALL
        },
        Disk {
            name: "decode to npy",
            args: &[
                "decode",
                "big.latent",
                "--vae",
                "demo:2x",
                "-o",
                "mnt/o.npy",
            ],
            old: "o.npy",
            ..SMALL
        },
        Disk {
            name: "decode to a folder",
            args: &["decode", "big.latent", "--vae", "demo:2x", "-o", "mnt/d/"],
            ..SMALL
        },
        Disk {
            name: "convert",
            args: &[
                "convert",
                "demo:base",
                "-o",
                "mnt/v.safetensors",
                "--layout",
                "original",
            ],
            old: "v.safetensors",
            ..SMALL
        },
        Disk {
            name: "convert to a folder",
            args: &[
                "convert",
                "demo:base",
                "-o",
                "mnt/vd/",
                "--layout",
                "diffusers",
            ],
            ..SMALL
        },
        Disk {
            name: "compare",
            args: &["compare", "a=noise.png", "b=noise.png", "-o", "mnt/o.html"],
            old: "o.html",
            ..SMALL
        },
        Disk {
            name: "encode",
            args: &[
                "encode",
                "noise.png",
                "--vae",
                "demo:base",
                "-o",
                "mnt/o.safetensors",
            ],
            old: "o.safetensors",
            ..SMALL
        },
        Disk {
            name: "hires",
            args: &[
                "hires",
                "big.latent",
                "--vae",
                "demo:2x",
                "-o",
                "mnt/o.latent",
            ],
            old: "o.latent",
            ..SMALL
        },
        Disk {
            name: "full before, decode",
            args: base,
            ..filled
        },
        Disk {
            name: "full before, decode to a folder",
            args: folder,
            ..filled
        },
        Disk {
            name: "full before, preview",
            args: &["preview", "latent8.latent", "-o", "mnt/p.png"],
            ..filled
        },
        Disk {
            name: "no inodes left",
            options: "size=4m,nr_inodes=4",
            fill: "for i in 1 2 3 4; do touch mnt/i$i 2>/dev/null; done; ",
            args: base,
            ..SMALL
        },
        Disk {
            name: "read-only",
            options: "size=1m,ro",
            args: base,
            says: "ead-only",
            ..SMALL
        },
        Disk {
            name: "read-only, folder",
            options: "size=1m,ro",
            args: folder,
            ..SMALL
        },
    ]
    .map(|disk| {
        trial(format!("outputs disk, {}", disk.name), move |room| {
            disk.run(room)
        })
    })
    .into()
}

impl Disk {
    fn run(self, room: &Room) -> Result<(), String> {
        let within = vec!["unshare", "--map-root-user", "--mount"];
        let mounts = std::process::Command::new(within[0])
            .args(&within[1..])
            .args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"])
            .output();
        if !mounts.is_ok_and(|o| o.status.success()) {
            println!("skipped: no disk can be mounted here");
            return Ok(());
        }
        room.write("latent8.latent", latent8());
        room.write("big.latent", latent([1, 1, 48, 48], 1));
        room.write("noise.png", png::noise(800, 800));
        fs::create_dir(room.path("mnt")).expect("a folder");
        let old = if self.old.is_empty() {
            String::new()
        } else {
            format!("printf old > mnt/{}; ", self.old)
        };
        let setting = Setting {
            within,
            before: format!(
                "mount -t tmpfs -o {} tmpfs mnt || exit 77; {old}{} ls -A mnt > before; ",
                self.options, self.fill
            ),
            after: format!("ls -A mnt > after; cat mnt/{} > kept 2>/dev/null", self.old),
            ..Setting::default()
        };
        let outcome = room.launch(self.args, &setting);
        let mut faults = outcome.faults();
        if outcome.code != Some(1) || !outcome.text().contains(self.says) {
            faults.push("does not fail in the right way".into());
        }
        if room.read("before") != room.read("after") {
            faults.push(format!(
                "leaves {}",
                String::from_utf8_lossy(&room.read("after")).replace('\n', " ")
            ));
        }
        if !self.old.is_empty() && room.read("kept") != b"old" {
            faults.push("the old file is lost".into());
        }
        if faults.is_empty() {
            Ok(())
        } else {
            Err(format!("{}\n{}", faults.join("; "), outcome.describe()))
        }
    }
}

/// A name, a command line, and what is done before it.
type UserCase = (&'static str, &'static [&'static str], fn(&Room));

/// Runs as a user without rights; root has them all.
fn users() -> Vec<Trial> {
    let cases: [UserCase; 2] = [
        (
            "into a read-only folder",
            &[
                "decode",
                "latent8.latent",
                "--vae",
                "demo:base",
                "-o",
                "ro/o.png",
            ],
            |room| {
                fs::create_dir(room.path("ro")).expect("a folder");
                fs::set_permissions(room.path("ro"), fs::Permissions::from_mode(0o555))
                    .expect("a mode");
            },
        ),
        (
            "an unreadable latent",
            &["info", "latent8.latent"],
            |room| {
                fs::set_permissions(room.path("latent8.latent"), fs::Permissions::from_mode(0o0))
                    .expect("a mode");
            },
        ),
    ];
    cases
        .map(|(name, args, make)| {
            trial(format!("outputs as nobody, {name}"), move |room| {
                room.write("latent8.latent", latent8());
                make(room);
                let within = vec![
                    "setpriv",
                    "--reuid=65534",
                    "--regid=65534",
                    "--clear-groups",
                ];
                room.open();
                let can = std::process::Command::new(within[0])
                    .args(&within[1..])
                    .args(["test", "-x", &PROGRAM])
                    .status();
                let setting = match can {
                    Ok(status) if status.success() => Setting {
                        within,
                        ..Setting::default()
                    },
                    // Not root: the modes are enough.
                    _ if fs::read_dir("/root").is_err() => Setting::default(),
                    _ => {
                        println!("skipped: no other user can run the program here");
                        return Ok(());
                    }
                };
                let outcome = room.launch(args, &setting);
                let mut faults = outcome.faults();
                if outcome.code != Some(1) || !outcome.text().contains("ermission") {
                    faults.push("does not fail for lack of permission".into());
                }
                if faults.is_empty() {
                    Ok(())
                } else {
                    Err(format!("{}\n{}", faults.join("; "), outcome.describe()))
                }
            })
        })
        .into()
}
