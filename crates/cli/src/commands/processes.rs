//! Training in several processes that a launcher has started: `mpirun`, or Slurm's `srun`. Each has a device of its own. Only the first
//! one prints and writes; an error of any ends all of them.

use std::sync::Arc;
#[cfg(feature = "mpi")]
use std::time::Duration;

#[cfg(feature = "mpi")]
use vae2x::Api;
use vae2x::Device;
use vae2x_train::Config;
use vae2x_train::decoder::collective::Collective;
#[cfg(feature = "mpi")]
use vae2x_train::decoder::mpi::{Local, Mpi};

#[cfg(feature = "mpi")]
use crate::ui;
use crate::usage;

/// Variables in which launchers tell a process how many of them there are: Open MPI's, MPICH's and those like it, Slurm's. What is
/// started within a step of Slurm by `mpirun` has both.
const COUNTS: [&str; 4] = [
    "OMPI_COMM_WORLD_SIZE",
    "PMI_SIZE",
    "MV2_COMM_WORLD_SIZE",
    "SLURM_STEP_NUM_TASKS",
];

/// The processes that a launcher has started, and by which variable that is known.
fn launched(variable: impl Fn(&str) -> Option<String>) -> Option<(usize, &'static str)> {
    let mut found = COUNTS
        .iter()
        .filter_map(|name| Some((variable(name)?.trim().parse().ok()?, *name)));
    found.next().filter(|(count, _)| *count > 1)
}

fn launched_here() -> Option<(usize, &'static str)> {
    launched(|name| std::env::var(name).ok())
}

/// Refuses to train in several processes what is trained in one.
///
/// # Errors
/// An invalid command line if a launcher has started several processes.
pub fn require_one(command: &str) -> anyhow::Result<()> {
    match launched_here() {
        None => Ok(()),
        Some((count, name)) => usage(format!(
            "`{command}` trains in one process, but a launcher has started {count} ({name})"
        )),
    }
}

/// This process and those that train with it.
#[derive(Default)]
pub struct Processes {
    #[cfg(feature = "mpi")]
    mpi: Option<Arc<Mpi>>,
}

#[cfg(not(feature = "mpi"))]
impl Processes {
    /// This process alone.
    ///
    /// # Errors
    /// An invalid command line if a launcher has started several.
    pub fn join() -> anyhow::Result<Self> {
        match launched_here() {
            None => Ok(Self::default()),
            Some((count, name)) => usage(format!(
                "a launcher has started {count} processes ({name}), but this build trains in one; \
                 build with `--features train,mpi`, or unset {name} to train in each alone"
            )),
        }
    }

    /// What joins them, if there are several.
    pub fn collective(&self) -> Option<Arc<dyn Collective>> {
        None
    }

    /// Number of processes on this machine.
    pub fn on_this_machine(&self) -> usize {
        1
    }

    /// The threads of this process, if they follow from the others.
    pub fn threads(&self) -> Option<u16> {
        None
    }

    /// The devices of this process, of those that the command line names.
    ///
    /// # Errors
    /// If there are several processes, and not a device for each.
    pub fn own_devices(&self, devices: &[Device]) -> anyhow::Result<Vec<Device>> {
        Ok(devices.to_vec())
    }

    /// The end of this process's work.
    ///
    /// # Errors
    /// Those of the work.
    pub fn finish(self, result: anyhow::Result<()>) -> anyhow::Result<()> {
        result
    }
}

#[cfg(feature = "mpi")]
impl Processes {
    /// Joins the processes that a launcher has started, if one has. From here on, all but the first are silent but for errors.
    ///
    /// # Errors
    /// If MPI does not find them.
    pub fn join() -> anyhow::Result<Self> {
        let Some((count, _)) = launched_here() else {
            return Ok(Self::default());
        };
        let mpi = Arc::new(Mpi::start(count)?);
        if mpi.rank() > 0 {
            ui::silence();
        }
        ui::note(format!(
            "{count} processes train together, {} of them on this machine",
            mpi.local().count
        ));
        Ok(Self { mpi: Some(mpi) })
    }

    /// What joins them, if there are several.
    pub fn collective(&self) -> Option<Arc<dyn Collective>> {
        let mpi = self.mpi.clone()?;
        Some(mpi)
    }

    /// Number of processes on this machine.
    pub fn on_this_machine(&self) -> usize {
        self.mpi.as_ref().map_or(1, |mpi| mpi.local().count)
    }

    /// The threads of this process, if they follow from the others: a part of the cores, unless the launcher has shared those out.
    pub fn threads(&self) -> Option<u16> {
        let local = self.mpi.as_ref()?.local();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Some(threads_of(local, cores))
    }

    /// The devices of this process, of those that the command line names.
    ///
    /// # Errors
    /// If there are several processes, and not a device for each.
    pub fn own_devices(&self, devices: &[Device]) -> anyhow::Result<Vec<Device>> {
        let has_gpus = Api::ALL
            .into_iter()
            .any(|api| Device::Gpu { api, index: None }.require_built().is_ok());
        match &self.mpi {
            None => Ok(devices.to_vec()),
            Some(mpi) => own_device(devices, mpi.local(), has_gpus).map(|device| vec![device]),
        }
    }

    /// The end of this process's work. If it has failed, its error is printed and all processes end; otherwise waits for the others,
    /// and takes on a signal that has stopped any of them.
    ///
    /// # Errors
    /// Those of the work, if this process is alone.
    pub fn finish(self, result: anyhow::Result<()>) -> anyhow::Result<()> {
        let Some(mpi) = self.mpi else {
            return result;
        };
        let code = crate::signals::stopping::code().unwrap_or(0);
        match result.and_then(|()| Ok(mpi.finish(code)?)) {
            Ok(code) => {
                crate::signals::stopping::adopt(code);
                Ok(())
            }
            Err(error) => {
                let rank = mpi.rank();
                if rank > 0 && is_everywhere(&error) {
                    std::thread::sleep(PATIENCE);
                }
                ui::error(&error.context(format!("rank {rank} of {}", mpi.count())));
                mpi.abort(1)
            }
        }
    }
}

impl Processes {
    /// Whether this process prints and writes.
    pub fn is_first(&self) -> bool {
        self.collective().is_none_or(|all| all.rank() == 0)
    }

    /// Runs `fetch` in the first process before it is run in the others, which find what it has fetched.
    ///
    /// # Errors
    /// Those of `fetch`; if another process has ended.
    pub fn first_alone<T>(&self, fetch: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let Some(all) = self.collective() else {
            return fetch();
        };
        if all.rank() > 0 {
            all.largest(0)?;
            return fetch();
        }
        let fetched = fetch()?;
        all.largest(0)?;
        Ok(fetched)
    }

    /// The configuration that the first process opens.
    ///
    /// # Errors
    /// Those of `open`; if another process has ended.
    pub fn config(&self, open: impl FnOnce() -> anyhow::Result<Config>) -> anyhow::Result<Config> {
        let Some(all) = self.collective() else {
            return open();
        };
        let own = match self.is_first() {
            true => Some(open()?),
            false => None,
        };
        let text = own.as_ref().map(Config::to_toml).transpose()?;
        let text = all.broadcast(text.unwrap_or_default().into_bytes())?;
        match own {
            Some(config) => Ok(config),
            None => Ok(Config::parse(&String::from_utf8_lossy(&text), &[])?),
        }
    }
}

/// The time that the first process has to print what all of them have met, and to end them.
#[cfg(feature = "mpi")]
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether all processes have the same error.
#[cfg(feature = "mpi")]
fn is_everywhere(error: &anyhow::Error) -> bool {
    let known = error.downcast_ref();
    matches!(known, Some(vae2x_train::Error::Diverged { .. }))
}

/// The threads of a process that may use `cores`.
#[cfg(feature = "mpi")]
fn threads_of(local: Local, cores: usize) -> u16 {
    let own = match local.shares_cores {
        true => cores / local.count,
        false => cores,
    };
    u16::try_from(own.max(1)).unwrap_or(u16::MAX)
}

/// A process's device, of those that the command line names.
#[cfg(feature = "mpi")]
fn own_device(devices: &[Device], local: Local, has_gpus: bool) -> anyhow::Result<Device> {
    match devices {
        [Device::Auto] if has_gpus && local.count > 1 => usage(format!(
            "--device is auto, which is the same GPU for all {} processes of this machine; name one for each, such as \
             cuda:0,cuda:1, or one for all, as where the launcher shows each process its own",
            local.count
        )),
        [one] => Ok(*one),
        several if several.len() == local.count => Ok(several[local.rank]),
        several => usage(format!(
            "--device names {} devices for {} processes on this machine; expected one for each, or one for all",
            several.len(),
            local.count
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launchers_are_known_by_their_variables() {
        let with = |variables: &'static [(&'static str, &'static str)]| {
            launched(|name| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| value.to_string())
            })
        };
        assert_eq!(with(&[]), None);
        assert_eq!(with(&[("OMPI_COMM_WORLD_SIZE", "1")]), None);
        assert_eq!(with(&[("PMI_SIZE", "two")]), None);
        assert_eq!(with(&[("PMI_SIZE", "4")]), Some((4, "PMI_SIZE")));
        // One process of a step of two.
        let nested = with(&[("SLURM_STEP_NUM_TASKS", "2"), ("OMPI_COMM_WORLD_SIZE", "1")]);
        assert_eq!(nested, None);
    }

    #[cfg(feature = "mpi")]
    #[test]
    fn processes_of_a_machine_share_its_devices_and_cores() {
        let local = |rank, count, shares_cores| Local {
            rank,
            count,
            shares_cores,
        };
        let names = |text: &str| -> Vec<Device> {
            text.split(',').map(|name| name.parse().unwrap()).collect()
        };
        let two = names("cuda:0,cuda:1");
        for rank in 0..2 {
            assert_eq!(
                own_device(&two, local(rank, 2, true), true).unwrap(),
                two[rank]
            );
        }
        assert_eq!(
            own_device(&names("cpu"), local(1, 2, true), true).unwrap(),
            Device::Cpu
        );
        let refused = |devices: &str, count| {
            let error = own_device(&names(devices), local(0, count, true), true);
            error.unwrap_err().to_string()
        };
        assert!(refused("cuda:0,cuda:1", 3).contains("2 devices for 3 processes"));
        assert!(refused("auto", 2).contains("same GPU"));
        assert!(own_device(&names("auto"), local(0, 1, true), true).is_ok());
        assert_eq!(threads_of(local(0, 4, true), 10), 2);
        assert_eq!(threads_of(local(0, 4, true), 2), 1);
        assert_eq!(threads_of(local(0, 4, false), 10), 10);
    }
}
