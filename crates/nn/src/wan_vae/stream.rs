//! One clip's way through a model on a device that may run out of memory.
//!
//! Unless it is said, nobody knows whether more will follow the first frame, so it is run as an image, which keeps nothing. When
//! more comes, the first frame is run again, now as a clip's: it is the cheapest frame, and images pay nothing. In the same way the
//! clip's beginning is run again under a smaller plan when memory runs out; inputs are kept for that until the clip needs as
//! much memory as it ever will. What a smaller plan teaches about the device holds for the inputs that follow.

use vae2x_core::engine::Progress;
use vae2x_core::{Array, Error, Result};

use super::Keep;
use crate::device::guarded;

/// Latent frames after which a clip's memory no longer grows: the first has no past, the second meets an empty one.
const UNTIL_STEADY: usize = 3;

/// One side of the model.
pub(super) trait Pass {
    /// How the work is cut.
    type Plan;
    /// What is kept between frames.
    type State;

    /// The plan for frames of the size of `input`.
    fn plan(&self, input: &Array, clip: bool) -> Result<Self::Plan>;

    /// The state before the first frame.
    fn begin(&self, plan: &Self::Plan, keep: Keep) -> Self::State;

    /// Gives back what the device holds without need.
    fn make_room(&self);

    /// A plan that takes less memory.
    fn smaller(&self, plan: &Self::Plan) -> Option<Self::Plan>;

    /// Learns that the device holds this plan for frames of the size of `input` and nothing larger: later plans begin there.
    fn learn(&self, plan: &Self::Plan, input: &Array, clip: bool) -> Result<()>;

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
    notify: Option<fn(&str)>,
    /// From the first frame on.
    under_way: Option<(P::Plan, P::State)>,
    /// Whether it is planned for more than one frame.
    clip: bool,
    /// Whether the plan was made smaller since the last frame.
    shrunk: bool,
    /// Inputs so far, until the clip is steady.
    seen: Vec<Array>,
    count: usize,
    /// A frame of this clip could not be run: the state is not that of any clip.
    failed: bool,
}

impl<P: Pass> Stream<P> {
    pub fn new(pass: P, notify: Option<fn(&str)>) -> Self {
        Self {
            pass,
            notify,
            under_way: None,
            clip: false,
            shrunk: false,
            seen: Vec::new(),
            count: 0,
            failed: false,
        }
    }

    /// Says before the first frame that more will follow, which spares running it twice.
    pub fn expect_more(&mut self) {
        self.clip = true;
    }

    /// Forgets the clip.
    pub fn reset(&mut self) {
        self.under_way = None;
        self.clip = false;
        self.shrunk = false;
        self.seen.clear();
        self.count = 0;
        self.failed = false;
    }

    /// Runs the next latent frame.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if the smallest bands do not fit, or the clip is too far on to begin again. After any error
    /// the clip cannot go on: [`Self::reset`] comes first.
    pub fn step(&mut self, input: Array, progress: Progress<'_>) -> Result<Array> {
        if self.failed {
            return Err(Error::Device(
                "an earlier frame of this clip failed; begin the clip anew".into(),
            ));
        }
        let result = self.next(input, progress);
        self.failed = result.is_err();
        result
    }

    fn next(&mut self, input: Array, progress: Progress<'_>) -> Result<Array> {
        if self.count == 0 || !self.clip {
            self.clip |= self.count > 0;
            self.begin_again(self.pass.plan(&input, self.clip)?)?;
        }
        let output = loop {
            match self.run(&input, progress) {
                Err(Error::OutOfMemory(why)) if self.count < UNTIL_STEADY => {
                    let plan = self.smaller(why)?;
                    self.begin_again(plan)?;
                }
                other => break other?,
            }
        };
        if let (true, Some((plan, _))) = (std::mem::take(&mut self.shrunk), &self.under_way) {
            self.pass.learn(plan, &input, self.clip)?;
        }
        self.count += 1;
        if self.count < UNTIL_STEADY {
            self.seen.push(input)
        } else {
            self.seen.clear()
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
        let keep = if self.clip { Keep::Past } else { Keep::Nothing };
        let result = loop {
            // What was kept goes before room is made for more.
            if self.under_way.take().is_some() {
                self.pass.make_room();
            }
            let state = self.pass.begin(&plan, keep);
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
        if let Some(notify) = self.notify {
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
    use std::cell::{Cell, RefCell};

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

    impl Pass for Small {
        type Plan = usize;
        type State = Vec<f32>;

        fn plan(&self, _: &Array, _: bool) -> Result<usize> {
            Ok(self.most.get())
        }

        fn begin(&self, _: &usize, _: Keep) -> Vec<f32> {
            Vec::new()
        }

        fn make_room(&self) {}

        fn smaller(&self, plan: &usize) -> Option<usize> {
            (*plan > 1).then_some(plan / 2)
        }

        fn learn(&self, plan: &usize, _: &Array, _: bool) -> Result<()> {
            self.most.set(*plan);
            Ok(())
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

    fn frame(value: f32) -> Array {
        Array::new([1], vec![value]).unwrap()
    }

    thread_local! {
        static SAID: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    /// What was said on this thread since the last call.
    fn said() -> Vec<String> {
        SAID.take()
    }

    fn listen(words: &str) {
        SAID.with_borrow_mut(|said| said.push(words.into()));
    }

    #[test]
    fn bands_shrink_and_the_past_is_made_anew() {
        let mut stream = Stream::new(Small::new(8), Some(listen));
        let mut step = |value: f32| stream.step(frame(value), &mut |_| ()).unwrap().into_data();
        assert_eq!(step(1.0), [1.0]);
        let smaller = |rows: usize| {
            format!("out of memory on the device; going on with bands of {rows} rows")
        };
        assert_eq!(said(), [smaller(8)]);
        // A clip is planned anew, but from what was learned, and its second frame has less room than the first.
        assert_eq!(step(2.0), [1.0, 2.0]);
        assert_eq!(said(), [smaller(4)]);
        assert_eq!(
            [step(3.0), step(4.0)].concat(),
            [1., 2., 3., 1., 2., 3., 4.]
        );
        assert!(said().is_empty());
        assert_eq!(stream.under_way.map(|(plan, _)| plan), Some(4));
    }

    #[test]
    fn the_next_input_begins_with_the_plan_that_fitted() {
        let mut stream = Stream::new(Small::new(5), Some(listen));
        stream.step(frame(1.0), &mut |_| ()).unwrap();
        assert_eq!(said().len(), 2);
        for _ in 0..2 {
            stream.reset();
            stream.step(frame(1.0), &mut |_| ()).unwrap();
            assert!(said().is_empty());
            assert_eq!(stream.under_way.as_ref().map(|(plan, _)| *plan), Some(4));
        }
    }

    #[test]
    fn a_plan_that_fitted_nowhere_teaches_nothing() {
        let mut stream = Stream::new(Small::new(0), None);
        assert!(stream.step(frame(1.0), &mut |_| ()).is_err());
        assert_eq!(stream.pass.most.get(), 16);
    }

    #[test]
    fn the_first_frame_is_run_twice_unless_more_is_expected() {
        for (expected, runs) in [(false, 4), (true, 3)] {
            let mut stream = Stream::new(Small::new(22), None);
            if expected {
                stream.expect_more();
            }
            let last = (1..4)
                .map(|i| stream.step(frame(i as f32), &mut |_| ()).unwrap())
                .last();
            assert_eq!(last.unwrap().data(), [1.0, 2.0, 3.0]);
            assert_eq!(stream.pass.runs.get(), runs);
        }
    }

    #[test]
    fn what_never_fits_is_an_error() {
        let mut stream = Stream::new(Small::new(0), Some(listen));
        assert!(matches!(
            stream.step(frame(1.0), &mut |_| ()),
            Err(Error::OutOfMemory(_))
        ));
        // From 16 rows down to a single one.
        assert_eq!(said().len(), 4);
    }

    #[test]
    fn memory_lost_late_is_an_error() {
        let mut stream = Stream::new(Small::new(22), None);
        (0..4).for_each(|_| drop(stream.step(frame(1.0), &mut |_| ()).unwrap()));
        stream.pass.room = 8;
        assert!(matches!(
            stream.step(frame(1.0), &mut |_| ()),
            Err(Error::OutOfMemory(_))
        ));
        // The clip is lost; another can begin.
        assert!(matches!(
            stream.step(frame(1.0), &mut |_| ()),
            Err(Error::Device(_))
        ));
        stream.reset();
        assert!(stream.step(frame(1.0), &mut |_| ()).is_ok());
    }
}
