// Pictures: base64 in the page -> a Blob -> bitmaps of the sizes that are looked at, within a budget of memory.
//
// A picture's pyramid is decoded from the level that is needed downwards and dropped when others need the room, the one that was
// not drawn for longest first. The base64 is removed from the page when the Blob is there.

/** Bytes of bitmaps that are kept. deviceMemory, in GiB, is what some browsers tell, and at most 8. */
const BUDGET = (navigator.deviceMemory ?? 4) * 2 ** 27;
const WORKERS = Math.max(1, Math.min(3, (navigator.hardwareConcurrency ?? 2) - 1));

class Store {
  /** `onChange` is called when a picture has arrived or failed. */
  constructor(onChange) {
    this.onChange = onChange;
    this.tasks = new Map();
    this.queue = [];
    this.loaded = new Set();
    /** Bytes of bitmaps that are there, and of those that the frame asks for. */
    this.held = this.asked = 0;
    this.frame = 0;
    this.task = 0;
    const code = URL.createObjectURL(new Blob([byId("worker").textContent], { type: "text/javascript" }));
    this.workers = Array.from({ length: WORKERS }, () => this.#hire(code));
  }

  #hire(code) {
    const worker = new Worker(code);
    const hired = { worker, busy: false };
    worker.onmessage = ({ data }) => {
      hired.busy = false;
      this.#arrive(data);
      this.#dispatch();
    };
    worker.onerror = ({ message }) => reportError(new Error(`the decoder has failed: ${message}`));
    return hired;
  }

  /** Called before a frame is drawn: what is asked for from now on is what the frame needs. */
  begin() {
    this.frame++;
    this.queue = [];
    this.asked = 0;
  }

  /**
   * Sees to it that `picture` is there from level `level` on, and says whether it is. What is not `needed` now is only fetched
   * while there is room.
   */
  want(picture, level, needed) {
    level = Math.min(level, picture.coarsest);
    if (needed) picture.drawn = this.frame;
    if (this.has(picture, level)) return true;
    const bytes = picture.bytesFrom(level);
    if (needed || this.held + this.asked + bytes < BUDGET) {
      this.asked += bytes;
      this.queue.push({ picture, level });
    }
    return false;
  }

  /** Whether `picture` is there from level `level` on, or never will be. */
  has(picture, level) {
    return Boolean(picture.failed) || picture.finest <= Math.min(level, picture.coarsest);
  }

  /** Starts what was asked for, in the order in which it was asked. */
  end() {
    this.#trim();
    this.#dispatch();
  }

  drop(picture) {
    this.held -= picture.bytes;
    picture.release();
    this.loaded.delete(picture);
  }

  #dispatch() {
    // A picture may be asked for more than once in a frame.
    this.queue = this.queue.filter((wish) => !this.has(wish.picture, wish.level) && !this.#start(wish));
  }

  #start({ picture, level }) {
    // Differences go to one worker, which remembers the last.
    const free = this.workers.find((hired, i) => !hired.busy && !(picture.pair && i > 0));
    const request = free && !picture.busy && picture.request();
    if (!request) return false;
    const task = ++this.task;
    this.tasks.set(task, picture);
    free.busy = picture.busy = true;
    free.worker.postMessage({ task, first: level, ...request });
    return true;
  }

  #arrive({ task, error, levels, blob, peak, mean }) {
    const picture = this.tasks.get(task);
    this.tasks.delete(task);
    picture.busy = false;
    if (error) {
      picture.failed = error;
      console.error(`${picture.name}: ${error}`);
    } else {
      this.held -= picture.bytes;
      picture.take(levels, blob);
      this.held += picture.bytes;
      Object.assign(picture, { peak, mean });
      this.loaded.add(picture);
    }
    this.onChange();
  }

  #trim() {
    if (this.held <= BUDGET) return;
    const idle = [...this.loaded].filter((p) => p.drawn < this.frame).sort((a, b) => a.drawn - b.drawn);
    while (this.held > BUDGET && idle.length) this.drop(idle.shift());
  }
}

/** A picture's bitmaps; those of one in the page or of a difference. */
class Picture {
  constructor(name, width, height) {
    Object.assign(this, { name, width, height, levels: [], drawn: 0, busy: false, failed: "" });
    this.coarsest = Math.max(0, Math.ceil(Math.log2(Math.max(width, height) / 512)));
  }

  /** The finest level that is there. */
  get finest() {
    const level = this.levels.findIndex(Boolean);
    return level < 0 ? Infinity : level;
  }

  /** The bitmap of `level`, or else of the next finer one, or else of the next coarser one. */
  nearest(level) {
    return this.levels.slice(0, level + 1).findLast(Boolean) ?? this.levels.find(Boolean);
  }

  get bytes() {
    return this.levels.reduce((sum, bitmap) => sum + (bitmap ? bitmap.width * bitmap.height * 4 : 0), 0);
  }

  bytesFrom(level) {
    return (this.width * this.height * 4 * 4) / 3 / 4 ** level;
  }

  take(levels, blob) {
    this.release();
    this.levels = levels;
    this.blob = blob;
  }

  release() {
    for (const bitmap of this.levels) bitmap?.close();
    this.levels = [];
  }
}

/** A picture in the page; `frame` is its place in a clip, if it is of one. */
class Embedded extends Picture {
  constructor({ name, width, height, type, data, frame }) {
    super(name, width, height);
    Object.assign(this, { type, data, frame });
  }

  /** What a worker needs to decode it; null while the page still arrives. */
  request() {
    if (this.blob) return { kind: "decode", source: this.blob, type: this.type };
    const holder = byId(this.data);
    if (!holder || (!holder.nextSibling && document.readyState === "loading")) return null;
    return { kind: "decode", source: Array.from(holder.children, (piece) => piece.textContent), type: this.type };
  }

  take(levels, blob) {
    super.take(levels, blob);
    byId(this.data)?.remove();
  }
}

/** A clip in the page: a picture for each of its frames. */
class Clip {
  constructor({ name, width, height, types, data }) {
    this.frames = types.map((type, frame) => new Embedded({ name, width, height, type, data: `${data}-${frame}`, frame }));
  }
}

/** What differs between two pictures of a field of view, in the pixels of the finer one, times `gain`. */
class Difference extends Picture {
  constructor(pair, field, gain) {
    const finer = pair[0].width >= pair[1].width ? pair[0] : pair[1];
    super(`${pair[0].name} − ${pair[1].name}`, finer.width, finer.height);
    Object.assign(this, { pair, field, gain, frame: pair[0].frame });
  }

  request() {
    const [a, b] = this.pair;
    if (!a.blob || !b.blob) return null;
    const scale = this.width / placeOf(this, this.field).width;
    const inside = (picture) => {
      const [own, all] = [placeOf(picture, this.field), placeOf(this, this.field)];
      const at = { x: (own.x - all.x) * scale, y: (own.y - all.y) * scale };
      return { blob: picture.blob, place: { ...at, width: own.width * scale, height: own.height * scale } };
    };
    const key = `${a.data} ${b.data}`;
    return { kind: "difference", key, a: inside(a), b: inside(b), width: this.width, height: this.height, gain: this.gain };
  }

  take(levels) {
    super.take(levels, null);
  }
}
