// Time: which frame of the row's clips is shown and which is due. It knows neither pictures nor controls.

const SPEEDS = [0.1, 0.25, 0.5, 1, 2, 4];
/** Frames that are decoded ahead, at most. */
const MOST_AHEAD = 32;

/** The frame's number in its clip, that of the last one, and the time at which it is shown. */
function frameText({ numbers, rate }, place) {
  return `${numbers[place]} / ${numbers.at(-1)} · ${(numbers[place] / rate).toFixed(2)} s`;
}

class Player {
  /** `onDue` is called when another frame is due. */
  constructor(onDue) {
    this.onDue = onDue;
    this.speed = 1;
    this.enter(undefined);
  }

  /** Another row, with its timeline or none. */
  enter(timeline) {
    const count = timeline?.numbers.length ?? 1;
    const [first, second] = timeline?.numbers ?? [];
    // Of clips of which every third frame is there, each is shown for three.
    const seconds = timeline && second !== undefined ? (second - first) / timeline.rate : 1;
    Object.assign(this, { timeline, count, seconds, shown: 0, target: 0, wanted: 0, isPlaying: false });
  }

  /** Goes to a frame, and stays there. */
  goTo(frame) {
    this.isPlaying = false;
    this.wanted = clamp(frame, 0, this.count - 1);
    this.onDue();
  }

  step(by) {
    this.goTo((this.wanted + by + this.count) % this.count);
  }

  toggle() {
    if (this.isPlaying) return this.goTo(this.shown);
    if (this.count < 2) return;
    this.isPlaying = true;
    this.#start();
    const tick = () => {
      if (!this.isPlaying) return;
      const due = this.due;
      if (due !== this.told) this.onDue();
      this.told = due;
      requestAnimationFrame(tick);
    };
    tick();
  }

  setSpeed(speed) {
    if (!SPEEDS.includes(speed)) return;
    this.speed = speed;
    this.#start();
    this.onDue();
  }

  changeSpeed(by) {
    this.setSpeed(SPEEDS[clamp(SPEEDS.indexOf(this.speed) + by, 0, SPEEDS.length - 1)]);
  }

  /** From here on the clock counts. */
  #start() {
    this.start = { time: performance.now(), frame: this.shown };
  }

  /** The frame that should be shown now. */
  get due() {
    if (!this.isPlaying) return this.wanted;
    const passed = Math.floor(((performance.now() - this.start.time) / 1000 / this.seconds) * this.speed);
    return (this.start.frame + passed) % this.count;
  }

  /**
   * Shows the frame that is due if `isThere` says so of it; else, while playing, the last of those since the one shown that is there.
   * The target, which is fetched, stays until it is there or was passed: one that always moves would never arrive.
   */
  advance(isThere) {
    const { due } = this;
    const arrived = (this.isPlaying ? this.#sinceShown(due) : [this.target, due]).findLast(isThere);
    const isHeld = arrived === undefined && this.target !== this.shown;
    this.shown = arrived ?? this.shown;
    if (!isHeld) this.target = due;
    if (this.isPlaying) this.wanted = this.shown;
  }

  /** The frames behind the one shown, up to `due`. */
  #sinceShown(due) {
    const count = (due - this.shown + this.count) % this.count;
    return Array.from({ length: count }, (_, i) => (this.shown + 1 + i) % this.count);
  }

  /** The frames that come next. */
  ahead() {
    const count = Math.min(MOST_AHEAD, this.count - 1);
    return Array.from({ length: count }, (_, i) => (this.target + 1 + i) % this.count);
  }
}
