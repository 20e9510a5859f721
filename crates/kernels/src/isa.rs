//! Instruction sets, chosen at run time. A value of [`Isa`] is the proof that this CPU has it: it can only be had from
//! here, after asking the CPU.

use vae2x_core::{Error, Result};

/// Environment variable that forces an instruction set: `scalar`, `avx2`, `avx512` or `neon`.
pub const ISA_VARIABLE: &str = "VAE2X_ISA";

/// An instruction set that this CPU has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(Kind);

/// The instruction sets there are kernels for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Plain Rust: the definition of every kernel.
    Scalar,
    /// 8 lanes and fused multiply-add.
    Avx2,
    /// 16 lanes.
    Avx512,
    /// 4 lanes.
    Neon,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Scalar, Self::Neon, Self::Avx2, Self::Avx512];

    fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Neon => "neon",
        }
    }

    fn present(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => is_x86_feature_detected!("avx512f"),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }
}

impl Isa {
    /// The widest this CPU has.
    pub fn detect() -> Self {
        Self::available().pop().unwrap_or(Self(Kind::Scalar))
    }

    /// All this CPU has, the widest last.
    pub fn available() -> Vec<Self> {
        Kind::ALL
            .into_iter()
            .filter(|k| k.present())
            .map(Self)
            .collect()
    }

    /// The instruction set called `name`.
    ///
    /// # Errors
    /// [`Error::BadRequest`] if there is none of that name, [`Error::NoDevice`] if this CPU lacks it.
    pub fn named(name: &str) -> Result<Self> {
        match Kind::ALL.into_iter().find(|k| k.name() == name) {
            Some(kind) if kind.present() => Ok(Self(kind)),
            Some(_) => Err(Error::NoDevice(format!(
                "this CPU does not have the instruction set '{name}'"
            ))),
            None => {
                let names = Kind::ALL.map(Kind::name).join(", ");
                Err(Error::BadRequest(format!(
                    "unknown instruction set '{name}'; expected one of {names}"
                )))
            }
        }
    }

    /// What [`ISA_VARIABLE`] asks for; `None` if it is not set.
    ///
    /// # Errors
    /// As [`Self::named`].
    pub fn from_env() -> Result<Option<Self>> {
        match std::env::var(ISA_VARIABLE) {
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(e) => Err(Error::BadRequest(format!("{ISA_VARIABLE}: {e}"))),
            Ok(name) => match Self::named(&name) {
                Ok(isa) => Ok(Some(isa)),
                Err(Error::NoDevice(problem)) => {
                    Err(Error::NoDevice(format!("{ISA_VARIABLE}: {problem}")))
                }
                Err(e) => Err(Error::BadRequest(format!("{ISA_VARIABLE}: {e}"))),
            },
        }
    }

    /// `scalar`, `avx2`, `avx512` or `neon`.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    pub(crate) fn kind(self) -> Kind {
        self.0
    }
}

impl std::fmt::Display for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scalar_set_is_everywhere_and_the_detected_one_is_listed() {
        assert_eq!(Isa::named("scalar").unwrap().name(), "scalar");
        assert!(Isa::available().contains(&Isa::detect()));
    }

    #[test]
    fn unknown_and_absent_sets_are_refused() {
        assert!(matches!(Isa::named("sse9"), Err(Error::BadRequest(_))));
        let absent = if cfg!(target_arch = "x86_64") {
            "neon"
        } else {
            "avx512"
        };
        assert!(matches!(Isa::named(absent), Err(Error::NoDevice(_))));
    }
}
