// What is looked at and how, and each frame of it. Nothing here listens to a key or a pointer: see input.js.

/** Space between pictures side by side, in CSS pixels. */
const GAP = 6;
/** Device pixels per pixel of the field in the loupe, in CSS pixels. */
const LOUPE_ZOOM = 8;
const GAINS = [1, 2, 4, 8, 16, 32];
/** Part of the budget that the frames ahead of the one that is shown may take. */
const AHEAD = 1 / 3;

const DRAWN_BY = { flip: "drawFlip", wipe: "drawWipe", side: "drawSide", difference: "drawDifference" };

const pixels = ({ width, height }) => `${width} × ${height}`;
const percent = (scale) => `${scale < 0.1 ? (100 * scale).toFixed(1) : Math.round(100 * scale)} %`;

class Viewer {
  constructor(report) {
    this.names = report.names;
    const held = (p) => p && (p.types ? new Clip(p) : new Embedded(p));
    this.rows = report.rows.map(({ name, pictures, timeline }) => ({ name, timeline, held: pictures.map(held) }));
    Object.assign(this, { row: 0, image: 0, against: report.reference, mode: "flip", gain: 3, wipe: 0.5 });
    Object.assign(this, { smooth: false, loupe: null, before: null, slots: {}, differences: new Map() });
    this.view = new View();
    this.canvas = byId("canvas");
    this.context = this.canvas.getContext("2d");
    /** Of the canvas, in device pixels; null until the page has been laid out. */
    this.size = null;
    this.store = new Store(() => this.redraw());
    this.player = new Player(() => this.redraw());
    this.onDrawn = () => {};
    this.enterRow();
  }

  /** Of the row; of clips, the frames that are shown. */
  get pictures() {
    return this.picturesAt(this.player.shown);
  }

  picturesAt(frame) {
    return this.rows[this.row].held.map((held) => (held?.frames ? held.frames[frame] : held));
  }

  /** When the frames of the row's clips are shown; undefined for images. */
  get timeline() {
    return this.rows[this.row].timeline;
  }

  /** Numbers of the pictures that this row has. */
  get present() {
    return this.pictures.flatMap((picture, i) => (picture ? [i] : []));
  }

  get field() {
    return fieldOf(this.pictures.filter(Boolean));
  }

  enterRow() {
    this.slots = {};
    this.player.enter(this.timeline);
    for (const difference of this.differences.values()) this.store.drop(difference);
    this.differences.clear();
    if (!this.pictures[this.image]) this.image = this.present[0];
    if (!this.pictures[this.against]) this.against = this.present[0];
    this.part();
  }

  /** Wipe and difference are of two pictures, not of one with itself. */
  part() {
    const compares = this.mode === "wipe" || this.mode === "difference";
    if (!compares || this.image !== this.against) return;
    this.image = this.present.find((i) => i !== this.against) ?? this.image;
  }

  // What people do.

  choose(image) {
    if (!this.pictures[image] || image === this.image) return;
    this.before = this.image;
    this.image = image;
    this.redraw();
  }

  chooseAgainst(image) {
    if (!this.pictures[image]) return;
    this.against = image;
    this.redraw();
  }

  /** The picture that was looked at before this one. */
  swap() {
    const apart = this.present.find((i) => i !== this.image);
    this.choose(this.pictures[this.before] && this.before !== this.image ? this.before : apart);
  }

  step(by) {
    const order = this.mode === "difference" ? this.present.filter((i) => i !== this.against) : this.present;
    this.choose(order.at((order.indexOf(this.image) + by) % order.length));
  }

  chooseRow(row) {
    if (row === this.row || !this.rows[row]) return;
    const { width, height } = this.field;
    this.row = row;
    if (this.field.width !== width || this.field.height !== height) this.view.fit();
    this.loupe &&= { x: this.field.width / 2, y: this.field.height / 2 };
    this.enterRow();
    this.redraw();
  }

  setMode(mode) {
    this.mode = mode;
    this.part();
    this.redraw();
  }

  setGain(gain) {
    this.gain = clamp(gain, 0, GAINS.length - 1);
    this.redraw();
  }

  setWipe(wipe) {
    this.wipe = clamp(wipe, 0, 1);
    this.redraw();
  }

  setLoupe(on) {
    this.loupe = on ? { x: this.view.x, y: this.view.y } : null;
    this.redraw();
  }

  /** Puts the loupe on a device pixel of the canvas. */
  pointLoupe(at) {
    this.moveLoupe(this.view.pointAt(this.cellAt(at), at));
  }

  moveLoupe({ x, y }) {
    this.loupe = { x: clamp(x, 0, this.field.width - 1), y: clamp(y, 0, this.field.height - 1) };
    this.redraw();
  }

  /** A click or a tap: the next picture, or the one under it, or where to wipe. */
  press(at, backwards) {
    if (this.mode === "wipe") return this.setWipe(at.x / this.size.width);
    if (this.mode === "side") return this.choose(this.present[this.indexAt(at)]);
    this.step(backwards ? -1 : 1);
  }

  zoomTo(zoom, at) {
    const cell = at ? this.cellAt(at) : this.cells[0];
    this.view.zoomTo(zoom, cell, at ?? { x: cell.x + cell.width / 2, y: cell.y + cell.height / 2 });
    this.redraw();
  }

  fit() {
    this.view.fit();
    this.redraw();
  }

  pan(x, y) {
    this.view.pan(x, y);
    this.redraw();
  }

  // What they see.

  get cells() {
    if (this.mode !== "side") return [{ x: 0, y: 0, ...this.size }];
    return gridOf(this.present.length, this.size, this.field, GAP * devicePixelRatio);
  }

  indexAt({ x, y }) {
    return this.cells.findIndex((c) => x >= c.x && y >= c.y && x < c.x + c.width && y < c.y + c.height);
  }

  cellAt(at) {
    return this.cells[Math.max(0, this.indexAt(at))];
  }

  redraw() {
    this.pending ??= requestAnimationFrame(() => {
      this.pending = null;
      this.draw();
    });
  }

  draw() {
    if (!this.size) return;
    const { canvas, context, cells, field, size, store } = this;
    if (canvas.width !== size.width) canvas.width = size.width;
    if (canvas.height !== size.height) canvas.height = size.height;
    context.clearRect(0, 0, size.width, size.height);
    store.begin();
    this.view.settle(field, cells[0]);
    this.isWaiting = !this.advance();
    const labels = this[DRAWN_BY[this.mode]](cells);
    const loupe = this.loupe && this.fetchLoupe();
    this.prefetch();
    store.end();
    this.onDrawn({ labels, cells, loupe });
  }

  /**
   * Goes on to the frame that is due when all pictures that are looked at have it, so that they never differ in frame. Says whether that
   * is shown; while clips play, frames may be left out.
   */
  advance() {
    const { player, timeline } = this;
    if (!timeline) return true;
    player.advance((frame) => this.looked(frame).every(({ picture, level }) => this.store.has(picture, level)));
    for (const { picture, level } of this.looked(player.target)) this.fetch(picture, level, true);
    return player.isPlaying || player.shown === player.target;
  }

  fetch(picture, level, needed) {
    for (const source of picture.pair ?? []) if (!source.blob) this.store.want(source, Infinity, needed);
    return this.store.want(picture, level, needed);
  }

  /** The pictures that are drawn of a frame, and the levels that they are drawn from. */
  looked(frame) {
    const pictures = this.picturesAt(frame);
    const [image, against] = [pictures[this.image], pictures[this.against]];
    const of = {
      flip: () => [image],
      wipe: () => [image, against],
      side: () => this.present.map((i) => pictures[i]),
      difference: () => [this.differenceOf([image, against], GAINS[this.gain])],
    };
    const drawn = of[this.mode]().map((picture) => ({ picture, level: this.levelOf(picture) }));
    if (!this.loupe) return drawn;
    return [...drawn, ...this.present.map((i) => ({ picture: pictures[i], level: 0 }))];
  }

  drawFlip([cell]) {
    const picture = this.steady("main", this.pictures[this.image]);
    this.paint(picture, cell);
    return [{ cell, at: "start", ...this.describe(picture) }];
  }

  /** The picture that is compared against is on the left, the chosen one on the right of the handle. */
  drawWipe([cell]) {
    const edge = Math.round(this.wipe * cell.width);
    const left = this.steady("left", this.pictures[this.against]);
    const right = this.steady("main", this.pictures[this.image]);
    this.paint(left, cell, { ...cell, width: edge });
    this.paint(right, cell, { ...cell, x: cell.x + edge, width: cell.width - edge });
    return [{ cell, at: "start", ...this.describe(left) }, { cell, at: "end", ...this.describe(right) }];
  }

  drawSide(cells) {
    return this.present.map((image, i) => {
      const picture = this.steady(`side ${image}`, this.pictures[image]);
      this.paint(picture, cells[i]);
      return { cell: cells[i], at: "start", current: image === this.image, ...this.describe(picture) };
    });
  }

  drawDifference([cell]) {
    const pair = [this.pictures[this.image], this.pictures[this.against]];
    for (const picture of pair) if (!picture.blob) this.store.want(picture, Infinity, true);
    const shown = this.steady("difference", this.differenceOf(pair, GAINS[this.gain]));
    this.paint(shown, cell);
    const measured = shown.peak === 0 ? "no difference" : `largest ${shown.peak}, mean ${shown.mean?.toFixed(2)} of 255`;
    const text = `${shown.name}, ×${shown.gain}`;
    return [{ cell, at: "start", text, detail: shown.failed || (shown.peak === undefined ? "" : measured) }];
  }

  differenceOf(pair, gain) {
    const key = [pair[0].data, pair[1].data, gain].join();
    if (!this.differences.has(key)) this.differences.set(key, new Difference(pair, this.field, gain));
    return this.differences.get(key);
  }

  describe(picture) {
    const number = this.pictures.indexOf(picture) + 1;
    const scale = scaleOf(picture, this.field, this.view.zoom);
    const detail = picture.failed || `${pixels(picture)}${scale === this.view.zoom ? "" : ` at ${percent(scale)}`}`;
    return { text: `${number} ${picture.name}`, detail };
  }

  levelOf(picture) {
    return levelFor(scaleOf(picture, this.field, this.view.zoom));
  }

  /** `picture` if it is there, or what was in its place before, of the same frame: a flip never shows an empty stage. */
  steady(slot, picture) {
    const isThere = this.store.want(picture, this.levelOf(picture), true);
    const before = this.slots[slot];
    if (!isThere) this.isWaiting = true;
    if (isThere || !before?.bytes || before.frame !== picture.frame) this.slots[slot] = picture;
    this.slots[slot].drawn = this.store.frame;
    return this.slots[slot];
  }

  paint(picture, cell, clip = cell) {
    const { context, field, view, smooth } = this;
    context.save();
    context.beginPath();
    context.rect(clip.x, clip.y, clip.width, clip.height);
    context.clip();
    paint(context, picture, { field, cell, view, smooth });
    context.restore();
  }

  /** What the loupe shows: every picture of the row, and the part of the field that it looks at. */
  fetchLoupe() {
    const view = new View();
    const centre = { x: Math.floor(this.loupe.x) + 0.5, y: Math.floor(this.loupe.y) + 0.5 };
    Object.assign(view, centre, { zoom: Math.max(LOUPE_ZOOM * devicePixelRatio, 2 * this.view.zoom) });
    const pictures = this.present.map((image) => {
      const isNeeded = image === this.image || image === this.against;
      const picture = this.pictures[image];
      return { image, picture, isThere: this.store.want(picture, 0, isNeeded) && !picture.failed };
    });
    return { view, pictures };
  }

  /** What is likely to be looked at next: the frames that follow, this row's other pictures, then the next row's. */
  prefetch() {
    if (this.timeline) this.prefetchFrames();
    for (const image of this.present) this.store.want(this.pictures[image], this.levelOf(this.pictures[image]), false);
    const next = this.rows[this.row + 1]?.held.filter(Boolean).map((held) => held.frames?.[0] ?? held) ?? [];
    for (const picture of next) this.store.want(picture, Math.max(1, this.levelOf(picture)), false);
  }

  /** While clips play, frames that come soon are as good as drawn; those behind go first when room is needed. */
  prefetchFrames() {
    const { player } = this;
    let room = BUDGET * AHEAD;
    for (const { picture, level } of player.ahead().flatMap((frame) => this.looked(frame))) {
      room -= picture.bytesFrom(Math.min(level, picture.coarsest));
      if (room > 0) this.fetch(picture, level, player.isPlaying);
    }
    for (const [key, difference] of this.differences) {
      const isWanted = difference.busy || difference.levels.length || difference.drawn === this.store.frame;
      if (player.isPlaying && !isWanted) this.differences.delete(key);
    }
  }
}
