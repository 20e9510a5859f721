//! One clip's way through a model on a device that may run out of memory.
//!
//! Where memory runs out, the beginning of the clip is run again under a smaller plan; inputs are kept for that until the
//! clip needs as much memory as it ever will. What a smaller plan teaches about the device holds for the clips that follow.

use vae2x_core::engine::{Notify, Progress};
use vae2x_core::{Array, Error, Result};

use crate::device::guarded;
use crate::wan_vae::conv::Keep;

/// Latent frames after which a clip's memory no longer grows: the first has no past, the second meets an empty one.
const UNTIL_STEADY: usize = 3;

/// A half of the model, and the extent of a clip for it.
pub(super) trait Pass {
    /// How the work is cut.
    type Plan;
    /// What is kept between frames.
    type State;

    /// The state before the first frame.
    fn begin(&self, plan: &Self::Plan, keep: Keep) -> Self::State;

    /// Gives back what the device holds without need.
    fn make_room(&self);

    /// A plan that takes less memory.
    fn smaller(&self, plan: &Self::Plan) -> Option<Self::Plan>;

    /// Learns that the device holds this plan for the clip and nothing larger: later plans begin there.
    fn learn(&self, plan: &Self::Plan);

    /// The plan in words.
    fn describe(&self, plan: &Self::Plan) -> String;

    /// Runs one latent frame, or the frames of one.
    fn run(
        &self,
        plan: &Self::Plan,
        input: &Array,
        state: &mut Self::State,
        progress: Progress<'_>,
    ) -> Result<Array>;
}

/// A clip under way.
pub(super) struct Stream<P: Pass> {
    pass: P,
    keep: Keep,
    notify: Option<Notify>,
    /// `None` only while one plan is given up for another.
    under_way: Option<(P::Plan, P::State)>,
    /// Whether the plan was made smaller since the last frame.
    shrunk: bool,
    /// Inputs so far, until the clip is steady.
    seen: Vec<Array>,
    count: usize,
}

impl<P: Pass> Stream<P> {
    /// Before the first frame. [`Keep::Nothing`] is for images.
    pub fn new(pass: P, plan: P::Plan, keep: Keep, notify: Option<Notify>) -> Self {
        let state = pass.begin(&plan, keep);
        Self {
            pass,
            keep,
            notify,
            under_way: Some((plan, state)),
            shrunk: false,
            seen: Vec::new(),
            count: 0,
        }
    }

    /// Runs the next latent frame.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if the smallest bands do not fit, or the clip is too far on to begin again. After any error
    /// the clip cannot go on.
    pub fn step(&mut self, input: &Array, progress: Progress<'_>) -> Result<Array> {
        let output = loop {
            match self.run(input, progress) {
                Err(Error::OutOfMemory(why)) if self.count < UNTIL_STEADY => {
                    let plan = self.smaller(why)?;
                    self.begin_again(plan)?;
                }
                other => break other?,
            }
        };
        if let (true, Some((plan, _))) = (std::mem::take(&mut self.shrunk), &self.under_way) {
            self.pass.learn(plan);
        }
        self.count += 1;
        if self.keep == Keep::Past && self.count < UNTIL_STEADY {
            self.seen.push(input.clone());
        } else {
            self.seen.clear();
        }
        Ok(output)
    }

    fn run(&mut self, input: &Array, progress: Progress<'_>) -> Result<Array> {
        let Some((plan, state)) = &mut self.under_way else {
            return Err(Error::Device("nothing was planned".into()));
        };
        guarded(|| self.pass.run(plan, input, state, progress))
    }

    /// Runs what came so far under `plan`, or under a smaller one if need be.
    fn begin_again(&mut self, mut plan: P::Plan) -> Result<()> {
        let seen = std::mem::take(&mut self.seen);
        let result = loop {
            // What was kept goes before room is made for more.
            if self.under_way.take().is_some() {
                self.pass.make_room();
            }
            let state = self.pass.begin(&plan, self.keep);
            self.under_way = Some((plan, state));
            match seen
                .iter()
                .try_for_each(|input| self.run(input, &mut |_| ()).map(|_| ()))
            {
                Err(Error::OutOfMemory(why)) => plan = self.smaller(why)?,
                other => break other,
            }
        };
        self.seen = seen;
        result
    }

    fn smaller(&mut self, why: String) -> Result<P::Plan> {
        let Some(plan) = self
            .under_way
            .as_ref()
            .and_then(|(plan, _)| self.pass.smaller(plan))
        else {
            return Err(Error::OutOfMemory(why));
        };
        if let Some(notify) = &self.notify {
            notify(&format!(
                "out of memory on the device; going on with {}",
                self.pass.describe(&plan)
            ));
        }
        self.shrunk = true;
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A device that holds `room` rows, and three quarters of that for all but the first frame.
    struct Small {
        room: usize,
        /// Rows that plans begin with.
        most: Cell<usize>,
        runs: Cell<usize>,
    }

    impl Small {
        fn new(room: usize) -> Self {
            Self {
                room,
                most: Cell::new(16),
                runs: Cell::new(0),
            }
        }
    }

    impl Pass for &Small {
        type Plan = usize;
        type State = Vec<f32>;

        fn begin(&self, _: &usize, _: Keep) -> Vec<f32> {
            Vec::new()
        }

        fn make_room(&self) {}

        fn smaller(&self, plan: &usize) -> Option<usize> {
            (*plan > 1).then_some(plan / 2)
        }

        fn learn(&self, plan: &usize) {
            self.most.set(*plan);
        }

        fn describe(&self, plan: &usize) -> String {
            format!("bands of {plan} rows")
        }

        fn run(
            &self,
            plan: &usize,
            input: &Array,
            state: &mut Vec<f32>,
            _: Progress<'_>,
        ) -> Result<Array> {
            let room = if state.is_empty() {
                self.room
            } else {
                self.room * 3 / 4
            };
            if *plan > room {
                panic!("CUDA out of memory: {plan} rows");
            }
            self.runs.set(self.runs.get() + 1);
            state.extend(input.data());
            Array::new([state.len()], state.clone())
        }
    }

    /// What an engine notified of.
    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<Vec<String>>>);

    impl Heard {
        fn notify(&self) -> Option<Notify> {
            let heard = self.0.clone();
            Some(Arc::new(move |words: &str| {
                heard.lock().unwrap().push(words.into());
            }))
        }

        /// Everything since the last call.
        fn take(&self) -> Vec<String> {
            std::mem::take(&mut *self.0.lock().unwrap())
        }
    }

    fn stream(device: &Small, keep: Keep, notify: Option<Notify>) -> Stream<&Small> {
        Stream::new(device, device.most.get(), keep, notify)
    }

    fn step(stream: &mut Stream<&Small>, value: f32) -> Result<Vec<f32>> {
        let frame = Array::new([1], vec![value]).unwrap();
        stream.step(&frame, &mut |_| ()).map(Array::into_data)
    }

    #[test]
    fn bands_shrink_and_the_past_is_made_again() {
        let (device, heard) = (Small::new(8), Heard::default());
        let mut stream = stream(&device, Keep::Past, heard.notify());
        assert_eq!(step(&mut stream, 1.0).unwrap(), [1.0]);
        let smaller = |rows: usize| {
            format!("out of memory on the device; going on with bands of {rows} rows")
        };
        assert_eq!(heard.take(), [smaller(8)]);
        // The second frame has less room than the first.
        assert_eq!(step(&mut stream, 2.0).unwrap(), [1.0, 2.0]);
        assert_eq!(heard.take(), [smaller(4)]);
        assert_eq!(step(&mut stream, 3.0).unwrap(), [1.0, 2.0, 3.0]);
        assert_eq!(step(&mut stream, 4.0).unwrap(), [1.0, 2.0, 3.0, 4.0]);
        assert!(heard.take().is_empty());
        assert_eq!(stream.under_way.map(|(plan, _)| plan), Some(4));
    }

    #[test]
    fn the_next_clip_begins_with_the_plan_that_fitted() {
        let (device, heard) = (Small::new(5), Heard::default());
        let image = || {
            let mut stream = stream(&device, Keep::Nothing, heard.notify());
            step(&mut stream, 1.0).unwrap();
            stream.under_way.map(|(plan, _)| plan)
        };
        assert_eq!((image(), heard.take().len()), (Some(4), 2));
        assert_eq!((image(), heard.take().len()), (Some(4), 0));
    }

    #[test]
    fn every_frame_is_run_once() {
        let device = Small::new(22);
        let mut stream = stream(&device, Keep::Past, None);
        for i in 1..=4 {
            step(&mut stream, i as f32).unwrap();
        }
        assert_eq!(device.runs.get(), 4);
    }

    #[test]
    fn what_never_fits_is_an_error_and_teaches_nothing() {
        let (device, heard) = (Small::new(0), Heard::default());
        let mut stream = stream(&device, Keep::Nothing, heard.notify());
        let failed = step(&mut stream, 1.0);
        assert!(matches!(failed, Err(Error::OutOfMemory(_))));
        // From 16 rows down to a single one.
        assert_eq!(heard.take().len(), 4);
        assert_eq!(device.most.get(), 16);
    }

    #[test]
    fn memory_lost_late_is_an_error() {
        let (roomy, full) = (Small::new(22), Small::new(8));
        let mut stream = stream(&roomy, Keep::Past, None);
        (0..4).for_each(|_| drop(step(&mut stream, 1.0).unwrap()));
        stream.pass = &full;
        let failed = step(&mut stream, 1.0);
        assert!(matches!(failed, Err(Error::OutOfMemory(_))));
    }
}
