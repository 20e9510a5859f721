// Pointers, the wheel and keys; and the place in the page's address, so that a link or a reload leads back to it.

/** A pointer that moved less, in CSS pixels, has clicked. */
const CLICK_SLACK = 4;
/** Zoom per unit of the wheel; a notch is about 100. */
const WHEEL = 0.002;
/** Of a pinch on a touchpad, which browsers give as a wheel with Ctrl, in smaller units. */
const PINCH = 0.01;
/** CSS pixels per press of an arrow key. */
const ARROW = 40;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function listenToPointers(viewer) {
  const { canvas } = viewer;
  const down = new Map();
  let hasMoved = false;
  let most = 0;
  const at = ({ clientX, clientY }) => {
    const box = canvas.getBoundingClientRect();
    return { x: (clientX - box.left) * devicePixelRatio, y: (clientY - box.top) * devicePixelRatio };
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button > 0) return;
    canvas.setPointerCapture(event.pointerId);
    if (down.size === 0) [hasMoved, most] = [false, 0];
    down.set(event.pointerId, { start: at(event), now: at(event) });
    most = Math.max(most, down.size);
    if (viewer.loupe && event.pointerType === "touch" && down.size === 1) viewer.pointLoupe(at(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    const pointer = down.get(event.pointerId);
    const now = at(event);
    if (!pointer) {
      if (viewer.loupe && event.pointerType === "mouse") viewer.pointLoupe(now);
      return;
    }
    const moved = { x: now.x - pointer.now.x, y: now.y - pointer.now.y };
    const far = Math.hypot(now.x - pointer.start.x, now.y - pointer.start.y);
    if (far > CLICK_SLACK * devicePixelRatio) hasMoved = true;
    if (!hasMoved) return;
    const other = [...down].find(([id]) => id !== event.pointerId)?.[1].now;
    if (other) pinch(viewer, pointer.now, now, other);
    else if (viewer.loupe && event.pointerType === "touch") viewer.pointLoupe(now);
    else viewer.pan(moved.x, moved.y);
    pointer.now = now;
  });
  canvas.addEventListener("pointerup", (event) => {
    const isClick = down.delete(event.pointerId) && !hasMoved && most === 1;
    if (isClick && !(viewer.loupe && event.pointerType === "touch")) viewer.press(at(event), event.shiftKey);
  });
  canvas.addEventListener("pointercancel", (event) => down.delete(event.pointerId));
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      // Lines and pages, as some mice report, are turned into pixels.
      const delta = event.deltaY * [1, 16, 400][event.deltaMode];
      viewer.zoomTo(viewer.view.zoom * Math.exp(-delta * (event.ctrlKey ? PINCH : WHEEL)), at(event));
    },
    { passive: false },
  );
}

/** One of two fingers went from `from` to `to` while the other stayed. */
function pinch(viewer, from, to, other) {
  const apart = (finger) => Math.max(1, Math.hypot(finger.x - other.x, finger.y - other.y));
  viewer.pan((to.x - from.x) / 2, (to.y - from.y) / 2);
  viewer.zoomTo((viewer.view.zoom * apart(to)) / apart(from), { x: (to.x + other.x) / 2, y: (to.y + other.y) / 2 });
}

function listenToHandle(viewer) {
  const handle = byId("handle");
  let isHeld = false;
  const move = ({ clientX }) => {
    const box = viewer.canvas.getBoundingClientRect();
    viewer.setWipe((clientX - box.left) / box.width);
  };
  handle.addEventListener("pointerdown", (event) => {
    isHeld = true;
    handle.setPointerCapture(event.pointerId);
  });
  handle.addEventListener("pointermove", (event) => isHeld && move(event));
  handle.addEventListener("lostpointercapture", () => (isHeld = false));
  handle.addEventListener("keydown", (event) => {
    const ends = { Home: 0, End: 1 };
    const [x, y] = ARROWS[event.key] ?? [0, 0];
    if (event.key in ends) viewer.setWipe(ends[event.key]);
    else if (x || y) viewer.setWipe(viewer.wipe + (x - y) * (event.shiftKey ? 0.1 : 0.01));
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}

function listenToKeys(viewer) {
  document.addEventListener("keydown", (event) => {
    const { target, key, code } = event;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (key === "Escape" && viewer.loupe && !byId("help").open) return viewer.setLoupe(false);
    if (target.closest("select") || (byId("help").open && key !== "?" && key !== "h")) return;
    if (key === " " && target.closest("button")) return;
    if ((key in ARROWS || key === "Home" || key === "End") && target.closest("input")) return;
    const digit = /^(?:Digit|Numpad)([1-9])$/.exec(code)?.[1];
    if (digit) event.shiftKey ? viewer.chooseAgainst(digit - 1) : viewer.choose(digit - 1);
    else if (key in ARROWS) moveByKey(viewer, ARROWS[key], event.shiftKey);
    else {
      const name = key.toLowerCase();
      const command = Object.values(COMMANDS).find(({ keys, clip }) => keys.includes(name) && (!clip || viewer.timeline));
      if (!command || (name.startsWith("page") && viewer.rows.length < 2)) return;
      command.run(viewer);
    }
    event.preventDefault();
  });
}

function moveByKey(viewer, [x, y], isFar) {
  if (viewer.loupe) {
    const step = isFar ? 10 : 1;
    return viewer.moveLoupe({ x: viewer.loupe.x + x * step, y: viewer.loupe.y + y * step });
  }
  const step = ARROW * devicePixelRatio * (isFar ? 5 : 1);
  viewer.pan(-x * step, -y * step);
}

function listenToSize(viewer) {
  const observer = new ResizeObserver(([entry]) => {
    const exact = entry.devicePixelContentBoxSize?.[0];
    const { width, height } = entry.contentRect;
    // What the browser says where it says it, unless it means other pixels, as when it plays another device.
    const length = (told, css) => {
      const own = Math.round(css * devicePixelRatio);
      return Math.max(1, Math.abs(told - own) <= 1 ? told : own);
    };
    viewer.size = { width: length(exact?.inlineSize, width), height: length(exact?.blockSize, height) };
    // In this frame, as a canvas of another size is empty.
    viewer.draw();
  });
  try {
    observer.observe(viewer.canvas, { box: "device-pixel-content-box" });
  } catch {
    observer.observe(viewer.canvas);
  }
}

let placeTimer;

function writePlace(viewer) {
  clearTimeout(placeTimer);
  placeTimer = setTimeout(() => {
    const { row, image, against, mode, gain, view } = viewer;
    const place = new URLSearchParams({ row: row + 1, image: image + 1, against: against + 1, mode });
    if (mode === "difference") place.set("gain", GAINS[gain]);
    if (viewer.timeline) place.set("frame", viewer.timeline.numbers[viewer.player.shown]);
    if (!view.fitted) {
      for (const [name, value] of Object.entries({ x: view.x, y: view.y, zoom: view.zoom })) place.set(name, value.toFixed(3));
    }
    if (location.hash !== `#${place}`) history.replaceState(null, "", `#${place}`);
  }, 200);
}

/** Goes where the address says; what it does not say or gets wrong stays. */
function readPlace(viewer) {
  const place = new URLSearchParams(location.hash.slice(1));
  const index = (name) => Number(place.get(name) ?? NaN) - 1;
  viewer.chooseRow(index("row"));
  viewer.choose(index("image"));
  viewer.chooseAgainst(index("against"));
  const frame = viewer.timeline?.numbers.indexOf(Number(place.get("frame") ?? NaN)) ?? -1;
  if (frame >= 0) viewer.player.goTo(frame);
  if (Object.hasOwn(DRAWN_BY, place.get("mode"))) viewer.setMode(place.get("mode"));
  const gain = GAINS.indexOf(Number(place.get("gain")));
  if (gain >= 0) viewer.setGain(gain);
  const [x, y, zoom] = ["x", "y", "zoom"].map((name) => Number.parseFloat(place.get(name)));
  if (Number.isFinite(x + y) && zoom > 0) Object.assign(viewer.view, { x, y, zoom, fitted: false });
  viewer.redraw();
}
