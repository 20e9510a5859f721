// The controls: what the buttons, keys and lists do, and what they show of the viewer's state.

/**
 * Everything that can be done by a button or a key; `keys` are values of KeyboardEvent.key, in lower case. What is for clips comes
 * first, and is passed over where a row has none.
 */
const COMMANDS = {
  play: { clip: true, keys: [" ", "k"], shown: "Space  K", says: "play or pause the clips", run: ({ player }) => player.toggle() },
  "previous-frame": { clip: true, keys: [","], says: "previous frame", run: ({ player }) => player.step(-1) },
  "next-frame": { clip: true, keys: ["."], says: "next frame", run: ({ player }) => player.step(1) },
  "first-frame": { clip: true, keys: ["home"], shown: "Home", says: "first frame", run: ({ player }) => player.goTo(0) },
  "last-frame": { clip: true, keys: ["end"], shown: "End", says: "last frame", run: ({ player }) => player.goTo(player.count - 1) },
  slower: { clip: true, keys: ["<"], says: "play slower", run: ({ player }) => player.changeSpeed(-1) },
  faster: { clip: true, keys: [">"], says: "play faster", run: ({ player }) => player.changeSpeed(1) },
  swap: { keys: ["x", " "], shown: "X", says: "back to the picture before, and again; Space, too, for images", run: (v) => v.swap() },
  next: { keys: ["n"], says: "next picture; also a click or tap", run: (v) => v.step(1) },
  previous: { keys: ["p"], says: "previous picture; also Shift and a click", run: (v) => v.step(-1) },
  "next-row": { keys: ["pagedown"], shown: "Page ↓", says: "next row", run: (v) => v.chooseRow(v.row + 1) },
  "previous-row": { keys: ["pageup"], shown: "Page ↑", says: "previous row", run: (v) => v.chooseRow(v.row - 1) },
  flip: { keys: ["f"], says: "one picture at a time", run: (v) => v.setMode("flip") },
  wipe: { keys: ["w"], says: "two pictures with a handle between them", run: (v) => v.setMode("wipe") },
  side: { keys: ["s"], says: "all pictures side by side", run: (v) => v.setMode("side") },
  difference: { keys: ["d"], says: "what differs, amplified", run: (v) => v.setMode("difference") },
  more: { keys: ["g"], says: "amplify differences more", run: (v) => v.setGain(v.gain + 1) },
  less: { keys: ["b"], says: "amplify differences less", run: (v) => v.setGain(v.gain - 1) },
  "zoom-in": { keys: ["+", "="], says: "closer; also the wheel or two fingers", run: (v) => v.zoomTo(v.view.stop(1)) },
  "zoom-out": { keys: ["-"], shown: "−", says: "farther", run: (v) => v.zoomTo(v.view.stop(-1)) },
  fit: { keys: ["0"], says: "whole pictures", run: (v) => v.fit() },
  actual: { keys: ["z"], says: "a pixel of the widest picture for each of the screen", run: (v) => v.zoomTo(1) },
  smooth: { keys: ["i"], says: "smooth between pixels, or squares", run: (v) => ((v.smooth = !v.smooth), v.redraw()) },
  loupe: { keys: ["l"], says: "a loupe on all pictures; arrow keys move it", run: (v) => v.setLoupe(!v.loupe) },
  numbers: { keys: ["m"], says: "numbers and files", run: () => toggleNumbers() },
  theme: { keys: ["t"], says: "dark or light", run: () => toggleTheme() },
  help: { keys: ["?", "h"], says: "these keys", run: () => toggleHelp() },
};
/** Keys of the help that no button has. */
const MORE_KEYS = [
  ["1 – 9", "choose a picture"],
  ["Shift 1 – 9", "choose what it is compared against"],
  ["← ↑ → ↓", "move; with Shift farther; the wipe's handle when it has the focus"],
];

function toggleNumbers() {
  const isOpen = document.body.classList.toggle("without-numbers");
  document.querySelector("[data-do=numbers]").setAttribute("aria-pressed", !isOpen);
}

function toggleHelp() {
  byId("help").open ? byId("help").close() : byId("help").showModal();
}

const darkSystem = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (darkSystem.matches ? "dark" : "light")) === "dark";

function showTheme() {
  document.querySelector("[data-do=theme]").setAttribute("aria-pressed", isDark());
}

function toggleTheme() {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  showTheme();
}

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

class Controls {
  constructor(viewer) {
    this.viewer = viewer;
    this.labels = [];
    this.prepareButtons();
    this.prepareLists();
    this.prepareHelp();
    this.charts = viewer.rows.map(({ timeline }, row) => timeline && new FrameChart(viewer, row));
    viewer.onDrawn = (drawn) => this.show(drawn);
    darkSystem.addEventListener("change", showTheme);
    showTheme();
  }

  prepareButtons() {
    document.addEventListener("click", ({ target, detail }) => {
      const button = target.closest("[data-do], [data-image], [data-frame]");
      if (!button) return;
      if (button.dataset.do) COMMANDS[button.dataset.do].run(this.viewer);
      else if (button.dataset.frame) this.viewer.player.goTo(Number(button.dataset.frame));
      if (button.dataset.image) this.viewer.choose(Number(button.dataset.image));
      // After the mouse, keys go to the pictures again; after the keyboard the focus stays where it is.
      if (detail > 0 && button.closest(".bar")) byId("stage").focus({ preventScroll: true });
    });
    for (const button of document.querySelectorAll("[data-do]")) {
      const { keys, shown, says } = COMMANDS[button.dataset.do];
      button.title = `${says} (${shown ?? keys[0].toUpperCase()})`;
      button.setAttribute("aria-keyshortcuts", keys.map((key) => (key === " " ? "Space" : key)).join(" "));
    }
  }

  prepareLists() {
    const { viewer } = this;
    byId("rows").addEventListener("change", ({ target }) => viewer.chooseRow(Number(target.value)));
    byId("against").addEventListener("change", ({ target }) => viewer.chooseAgainst(Number(target.value)));
    byId("gain").addEventListener("input", ({ target }) => viewer.setGain(Number(target.value)));
    byId("frame").addEventListener("input", ({ target }) => viewer.player.goTo(Number(target.value)));
    byId("speed").append(...SPEEDS.map((speed) => element("option", { value: speed }, `${speed}×`)));
    byId("speed").addEventListener("change", ({ target }) => viewer.player.setSpeed(Number(target.value)));
  }

  prepareHelp() {
    const hasClips = this.viewer.rows.some(({ timeline }) => timeline);
    const commands = Object.values(COMMANDS).filter(({ clip }) => hasClips || !clip);
    const rows = commands.map(({ keys, shown, says }) => [shown ?? keys.join("  ").toUpperCase(), says]);
    const cells = ([keys, says]) => element("tr", {}, element("th", { scope: "row" }, keys), element("td", {}, says));
    byId("keys").append(...[...MORE_KEYS, ...rows].map(cells));
  }

  /** Brings everything around the pictures up to date with a frame. */
  show({ labels, cells, loupe }) {
    const { viewer } = this;
    this.showRow();
    this.showButtons();
    this.showLabels(labels);
    this.showHandle();
    this.showTimeline();
    this.showLoupe(loupe, cells);
    byId("zoom").textContent = percent(viewer.view.zoom);
    const stage = byId("stage");
    stage.setAttribute("aria-busy", viewer.isWaiting);
    const told = labels.map(({ text, detail }) => `${text}, ${detail}`).join("; ");
    byId("canvas").setAttribute("aria-label", `${viewer.rows[viewer.row].name}: ${told}; zoom ${percent(viewer.view.zoom)}`);
    // Said when it changes; not the zoom, which changes all the time.
    const said = labels.map(({ text }) => text).join(", ");
    if (byId("said").textContent !== said) byId("said").textContent = said;
    writePlace(viewer);
  }

  showRow() {
    const { viewer } = this;
    if (this.row === viewer.row) return;
    this.row = viewer.row;
    byId("rows").value = viewer.row;
    const buttons = viewer.names.map((name, i) => {
      const button = element("button", { type: "button", "data-image": i }, element("kbd", {}, i + 1), name);
      button.disabled = !viewer.pictures[i];
      if (button.disabled) button.title = "this row has none";
      return button;
    });
    byId("images").replaceChildren(...buttons);
    byId("against").replaceChildren(
      ...viewer.present.map((i) => element("option", { value: i }, `${i + 1} ${viewer.names[i]}`)),
    );
    for (const facts of document.querySelectorAll(".facts")) facts.hidden = Number(facts.dataset.row) !== viewer.row;
  }

  showButtons() {
    const { viewer } = this;
    const press = (selector, isPressed) =>
      document.querySelectorAll(selector).forEach((button) => button.setAttribute("aria-pressed", isPressed));
    for (const mode of Object.keys(DRAWN_BY)) press(`[data-do=${mode}]`, viewer.mode === mode);
    press("[data-do=smooth]", viewer.smooth);
    press("[data-do=loupe]", Boolean(viewer.loupe));
    press("[data-do=fit]", viewer.view.fitted);
    for (const button of byId("images").children) {
      const image = Number(button.dataset.image);
      const isChosen = image === viewer.image;
      button.setAttribute("aria-pressed", isChosen);
      if (isChosen && this.chosen !== image) button.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    this.chosen = viewer.image;
    for (const row of document.querySelectorAll(".facts:not([hidden]) tr[data-of]")) {
      row.toggleAttribute("aria-current", Number(row.dataset.of) === viewer.image);
    }
    byId("against").value = viewer.against;
    byId("gain").value = viewer.gain;
    byId("gain").setAttribute("aria-valuetext", `times ${GAINS[viewer.gain]}`);
    byId("gain-value").textContent = `×${GAINS[viewer.gain]}`;
    document.body.dataset.mode = viewer.mode;
    const last = viewer.rows.length - 1;
    document.querySelector("[data-do=previous-row]").disabled = viewer.row === 0;
    document.querySelector("[data-do=next-row]").disabled = viewer.row === last;
  }

  showLabels(labels) {
    const css = (length) => `${length / devicePixelRatio}px`;
    const wanted = labels.map(({ cell, at, text, detail, current }) => {
      const style = `left:${css(cell.x)};top:${css(cell.y)};width:${css(cell.width)};height:${css(cell.height)}`;
      return { style, text, detail, class: `label at-${at}${current ? " current" : ""}` };
    });
    const key = JSON.stringify(wanted);
    if (this.labels === key) return;
    this.labels = key;
    const made = wanted.map(({ style, text, detail, class: name }) =>
      element("div", { class: name, style }, element("span", {}, element("b", {}, text), " ", detail)),
    );
    byId("labels").replaceChildren(...made);
  }

  showHandle() {
    const handle = byId("handle");
    handle.hidden = this.viewer.mode !== "wipe";
    handle.style.left = `${100 * this.viewer.wipe}%`;
    handle.setAttribute("aria-valuenow", Math.round(100 * this.viewer.wipe));
  }

  showTimeline() {
    const { player, timeline } = this.viewer;
    byId("transport").hidden = !timeline;
    if (!timeline) return;
    const slider = byId("frame");
    slider.max = player.count - 1;
    slider.value = player.shown;
    const told = frameText(timeline, player.shown);
    slider.setAttribute("aria-valuetext", `frame ${told}`);
    slider.style.setProperty("--done", `${(100 * player.shown) / Math.max(1, player.count - 1)}%`);
    byId("frame-told").textContent = told;
    byId("speed").value = player.speed;
    const play = document.querySelector("[data-do=play]");
    play.classList.toggle("is-playing", player.isPlaying);
    play.setAttribute("aria-label", player.isPlaying ? "Pause" : "Play");
    this.charts[this.viewer.row]?.show(player.shown);
  }

  showLoupe(loupe, cells) {
    const panel = byId("loupe");
    panel.hidden = byId("mark").hidden = !loupe;
    if (!loupe) return;
    this.showMark(cells[0]);
    const { viewer } = this;
    if (panel.dataset.row !== String(viewer.row) || panel.children.length !== loupe.pictures.length) {
      panel.dataset.row = viewer.row;
      const cell = ({ picture }) =>
        element("figure", {}, element("canvas", {}), element("i", { class: "dot" }), element("figcaption", {}, element("b", {}, picture.name), element("span", {})));
      panel.replaceChildren(...loupe.pictures.map(cell));
    }
    loupe.pictures.forEach((shown, i) => this.showThroughLoupe(panel.children[i], shown, loupe.view));
  }

  showThroughLoupe(figure, { image, picture, isThere }, view) {
    const canvas = figure.firstChild;
    const side = Math.round(canvas.clientWidth * devicePixelRatio);
    if (canvas.width !== side) canvas.width = canvas.height = side;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const cell = { x: 0, y: 0, width: side, height: side };
    context.clearRect(0, 0, side, side);
    paint(context, picture, { field: this.viewer.field, cell, view, smooth: false });
    const middle = Math.floor(side / 2);
    const [red, green, blue] = context.getImageData(middle, middle, 1, 1).data;
    figure.querySelector("span").textContent = isThere ? `${red} ${green} ${blue}` : "…";
    figure.classList.toggle("current", image === this.viewer.image);
    const dot = figure.querySelector(".dot");
    dot.style.top = `${canvas.clientHeight / 2}px`;
    dot.style.setProperty("--dot", `${view.zoom / devicePixelRatio}px`);
  }

  showMark(cell) {
    const { view, loupe } = this.viewer;
    const origin = view.origin(cell);
    const mark = byId("mark");
    const css = (at, length) => `${(at + (Math.floor(length) + 0.5) * view.zoom) / devicePixelRatio}px`;
    mark.style.left = css(origin.x, loupe.x);
    mark.style.top = css(origin.y, loupe.y);
  }
}
