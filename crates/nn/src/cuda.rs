//! Where CUDA's headers and its run-time compiler are on this machine.
//!
//! CubeCL compiles its kernels when they are first needed. Through C++ (the feature `cuda`) that takes NVRTC and CUDA's headers,
//! through LLVM (the feature `cuda-llvm` alone) one file of the toolkit. A toolkit has all of it, and so has PyTorch, but for one
//! header: its wheels put it under `site-packages/nvidia`. CubeCL itself looks at `CUDA_PATH` and at a toolkit's usual places.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use vae2x_core::{Error, Result};

/// The variable that CubeCL reads.
const CUDA_PATH: &str = "CUDA_PATH";
/// The variable by which NVRTC is found in places that the system's loader does not know.
const LIBRARY_PATH: &str = "LD_LIBRARY_PATH";

/// A file that kernels need, and the wheel that has it.
struct Needed {
    path: &'static str,
    wheel: &'static str,
}

/// `mma.h` includes `crt/mma.h`, which PyTorch does not bring.
const NEEDED: &[Needed] = if cfg!(feature = "cuda") {
    &[
        Needed {
            path: "include/cuda_fp16.h",
            wheel: "nvidia-cuda-runtime",
        },
        Needed {
            path: "include/mma.h",
            wheel: "nvidia-cuda-runtime",
        },
        Needed {
            path: "include/crt/mma.h",
            wheel: "nvidia-cuda-crt",
        },
    ]
} else {
    &[Needed {
        path: "nvvm/libdevice/libdevice.10.bc",
        wheel: "nvidia-nvvm",
    }]
};

/// Places under the root of CUDA where libraries lie: of a toolkit, of a toolkit for several targets, of wheels.
const LIBRARIES: [&str; 4] = [
    "lib64",
    "targets/x86_64-linux/lib",
    "targets/sbsa-linux/lib",
    "lib",
];

/// What the search looks at.
#[derive(Debug, Default)]
struct Surroundings {
    /// `CUDA_PATH`.
    cuda_path: Option<PathBuf>,
    /// Where CubeCL looks without it.
    toolkits: Vec<PathBuf>,
    /// Roots of Python installations.
    pythons: Vec<PathBuf>,
    /// `LD_LIBRARY_PATH`.
    library_path: Option<OsString>,
}

impl Surroundings {
    fn of_this_process() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let pythons = ["VIRTUAL_ENV", "CONDA_PREFIX"]
            .into_iter()
            .filter_map(variable)
            .map(PathBuf::from);
        // `BIN/python3`; links are followed to the installation, too.
        let path = variable("PATH").unwrap_or_default();
        let on_path = std::env::split_paths(&path)
            .map(|bin| bin.join("python3"))
            .find(|python| python.exists());
        let roots = on_path.iter().flat_map(|python| {
            let real = python.canonicalize().ok();
            let root = |python: &Path| Some(python.parent()?.parent()?.to_owned());
            [root(python), real.as_deref().and_then(root)]
        });
        let user = variable("HOME").map(|home| PathBuf::from(home).join(".local"));
        let toolkits = ["/usr/local/cuda", "/opt/cuda"].map(PathBuf::from);
        let distribution = Path::new("/usr/bin/nvcc").exists().then(|| "/usr".into());
        Self {
            cuda_path: variable(CUDA_PATH).map(PathBuf::from),
            toolkits: toolkits.into_iter().chain(distribution).collect(),
            pythons: pythons.chain(roots.flatten()).chain(user).collect(),
            library_path: variable(LIBRARY_PATH),
        }
    }

    /// The root of CUDA that CubeCL will look at.
    fn root(&self) -> Option<PathBuf> {
        let exists = |path: &&PathBuf| path.exists();
        self.cuda_path
            .clone()
            .or_else(|| self.toolkits.iter().find(exists).cloned())
    }

    /// Roots of CUDA in the wheels of Python installations.
    fn wheels(&self) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = Vec::new();
        for site in self.pythons.iter().flat_map(|root| site_packages(root)) {
            // All headers and libraries of CUDA 13; the wheels of CUDA 12 are scattered over several folders.
            found.push(site.join("nvidia/cu13"));
        }
        found.retain(|root| root.is_dir());
        found
    }

    /// The root that has everything, or else the best there is.
    fn best(&self) -> Option<PathBuf> {
        let candidates: Vec<_> = self.root().into_iter().chain(self.wheels()).collect();
        let complete = candidates.iter().find(|root| lacks(root).is_none());
        complete.or(candidates.first()).cloned()
    }

    /// Variables that lead CubeCL and the loader to the best root, where they do not lead there yet.
    fn environment(&self) -> Vec<(&'static str, OsString)> {
        let Some(root) = self.best().filter(|_| self.cuda_path.is_none()) else {
            let root = self.cuda_path.as_deref();
            return root
                .and_then(|root| self.libraries(root))
                .into_iter()
                .collect();
        };
        let path = (self.root().as_ref() != Some(&root))
            .then(|| (CUDA_PATH, root.clone().into_os_string()));
        path.into_iter().chain(self.libraries(&root)).collect()
    }

    /// The loader's variable with the folder of a root's NVRTC, unless it is there.
    fn libraries(&self, root: &Path) -> Option<(&'static str, OsString)> {
        let folder = LIBRARIES
            .map(|folder| root.join(folder))
            .into_iter()
            .find(|folder| holds_nvrtc(folder))?;
        let known = self.library_path.clone().unwrap_or_default();
        if std::env::split_paths(&known).any(|path| path == folder) {
            return None;
        }
        let joined = std::env::join_paths(
            [folder]
                .into_iter()
                .chain(std::env::split_paths(&known).filter(|path| path != Path::new(""))),
        );
        Some((LIBRARY_PATH, joined.ok()?))
    }

    /// Refuses a machine on which kernels could not be compiled.
    fn check(&self) -> Result<()> {
        let wheels = "pip install nvidia-cuda-nvrtc nvidia-cuda-runtime nvidia-cuda-crt nvidia-cuda-cccl nvidia-nvvm";
        let Some(root) = self.root() else {
            return Err(Error::NoDevice(match self.best() {
                Some(root) => format!(
                    "CUDA's headers are in {0}, but {CUDA_PATH} is not set; set {CUDA_PATH}={0}",
                    root.display()
                ),
                None => format!(
                    "CUDA's headers and compiler are not found: neither {CUDA_PATH} nor a toolkit in /usr/local/cuda nor a \
                     Python installation has them; install a toolkit, or: {wheels}"
                ),
            }));
        };
        match lacks(&root) {
            None => Ok(()),
            Some(Needed { path, wheel }) => Err(Error::NoDevice(format!(
                "{} is missing, which compiling CUDA's kernels takes; it comes with a toolkit of CUDA, whose folder {CUDA_PATH} \
                 names, or with the Python package {wheel} (pip install {wheel})",
                root.join(path).display()
            ))),
        }
    }
}

/// The first of the needed files that a root does not have.
fn lacks(root: &Path) -> Option<&'static Needed> {
    NEEDED
        .iter()
        .find(|needed| !root.join(needed.path).exists())
}

fn holds_nvrtc(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name())
        .any(|name| name.to_string_lossy().starts_with("libnvrtc.so"))
}

/// `ROOT/lib/python3.N/site-packages`, and Debian's name for it.
fn site_packages(root: &Path) -> Vec<PathBuf> {
    let versions = std::fs::read_dir(root.join("lib")).into_iter().flatten();
    let versions = versions
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("python3"))
        .map(|entry| entry.path());
    let mut found: Vec<_> = versions
        .flat_map(|lib| [lib.join("site-packages"), lib.join("dist-packages")])
        .filter(|path| path.is_dir())
        .collect();
    found.sort();
    found
}

/// Variables with which this program should be started so that CUDA's compiler and headers are found; empty if they need none.
pub fn environment() -> Vec<(&'static str, OsString)> {
    Surroundings::of_this_process().environment()
}

/// Refuses a machine whose CUDA lacks what compiling kernels takes.
///
/// # Errors
/// [`Error::NoDevice`] with the file that is missing and the package that has it.
pub fn check() -> Result<()> {
    Surroundings::of_this_process().check()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with files in it.
    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        folder
    }

    const SITE: &str = "lib/python3.12/site-packages/nvidia/cu13";

    fn files_of(root: &str) -> Vec<String> {
        let needed = NEEDED.iter().map(|needed| needed.path);
        needed
            .chain(["lib/libnvrtc.so.13"])
            .map(|path| format!("{root}/{path}"))
            .collect()
    }

    fn python(files: &[String]) -> tempfile::TempDir {
        folder(&files.iter().map(String::as_str).collect::<Vec<_>>())
    }

    #[test]
    fn cuda_is_found_in_a_python_installation() {
        let python = python(&files_of(SITE));
        let here = Surroundings {
            pythons: vec![python.path().into()],
            library_path: Some("/elsewhere".into()),
            ..Default::default()
        };
        let root = python.path().join(SITE);
        let libraries = format!("{}:/elsewhere", root.join("lib").display());
        let environment = here.environment();
        assert_eq!(
            environment,
            [
                (CUDA_PATH, root.clone().into_os_string()),
                (LIBRARY_PATH, libraries.clone().into())
            ]
        );
        // Until it is started so, the place is told.
        let told = here.check().unwrap_err().to_string();
        assert!(
            told.contains(&format!("set CUDA_PATH={}", root.display())),
            "{told}"
        );
        let after = Surroundings {
            cuda_path: Some(root),
            library_path: Some(libraries.into()),
            ..here
        };
        assert!(after.environment().is_empty());
        after.check().unwrap();
    }

    #[test]
    fn the_package_of_a_missing_file_is_named() {
        let needed = NEEDED.last().unwrap();
        let mut files = files_of("cuda");
        files.retain(|file| !file.ends_with(needed.path));
        let python = python(&files);
        let here = Surroundings {
            cuda_path: Some(python.path().join("cuda")),
            ..Default::default()
        };
        let told = here.check().unwrap_err().to_string();
        assert!(
            told.contains(needed.path) && told.contains(needed.wheel),
            "{told}"
        );
        let nowhere = Surroundings::default();
        assert!(nowhere.environment().is_empty());
        let told = nowhere.check().unwrap_err().to_string();
        assert!(told.contains("pip install"), "{told}");
    }

    #[test]
    fn a_toolkit_comes_before_wheels_unless_it_is_incomplete() {
        let (toolkit, python) = (python(&files_of("cuda")), python(&files_of(SITE)));
        let here = |toolkit: PathBuf| Surroundings {
            toolkits: vec![toolkit],
            pythons: vec![python.path().into()],
            ..Default::default()
        };
        let complete = here(toolkit.path().join("cuda"));
        assert_eq!(complete.best(), Some(toolkit.path().join("cuda")));
        complete.check().unwrap();
        // CubeCL finds it; only NVRTC's folder is told.
        let environment = complete.environment();
        assert!(
            matches!(&environment[..], [(LIBRARY_PATH, _)]),
            "{environment:?}"
        );
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(
            here(empty.path().into()).best(),
            Some(python.path().join(SITE))
        );
    }
}
