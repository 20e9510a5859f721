// A number of the row's clips, frame by frame: a line for each, over the numbers' table. The line of the frame that is shown moves.

const CHART = { width: 600, height: 120, room: 6 };
const SVG = "http://www.w3.org/2000/svg";

function drawing(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

class FrameChart {
  constructor(viewer, row) {
    this.viewer = viewer;
    this.figure = document.querySelector(`.facts[data-row="${row}"] .frames`);
    if (!this.figure) return;
    this.numbers = viewer.rows[row].timeline.charts;
    this.count = viewer.rows[row].timeline.numbers.length;
    this.plot = this.figure.querySelector(".plot");
    const select = this.figure.querySelector("select");
    select.addEventListener("change", () => {
      this.draw(Number(select.value));
      this.show(viewer.player.shown);
    });
    this.plot.addEventListener("pointerdown", (event) => {
      this.plot.setPointerCapture(event.pointerId);
      this.goTo(event);
    });
    this.plot.addEventListener("pointermove", (event) => event.buttons && this.goTo(event));
    this.draw(0);
  }

  goTo({ clientX }) {
    const box = this.plot.getBoundingClientRect();
    const share = (clientX - box.left) / box.width;
    this.viewer.player.goTo(Math.round(share * (this.count - 1)));
  }

  draw(which) {
    this.number = this.numbers[which];
    const finite = this.number.lines.flatMap(({ values }) => values).filter((value) => typeof value === "number");
    const [low, high] = [Math.min(...finite), Math.max(...finite)];
    const { width, height, room } = CHART;
    const x = (frame) => (this.count > 1 ? (frame / (this.count - 1)) * width : width / 2);
    // What is infinite is drawn at the upper end.
    const share = (value) => (typeof value !== "number" ? 1 : high > low ? (value - low) / (high - low) : 0.5);
    const y = (value) => height - room - share(value) * (height - 2 * room);
    const svg = drawing("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    for (const { column, values } of this.number.lines) {
      const points = values.flatMap((value, frame) => (value === null ? [] : [`${x(frame).toFixed(1)},${y(value).toFixed(1)}`]));
      svg.append(drawing("polyline", { points: points.join(" "), class: `line-${column % LINES}` }));
    }
    this.cursor = element("i", { class: "cursor" });
    this.plot.replaceChildren(svg, this.cursor);
    const told = (value) => (Number.isFinite(value) ? value.toFixed(this.number.digits) : "");
    this.figure.querySelector(".low").textContent = told(low);
    this.figure.querySelector(".high").textContent = high > low ? told(high) : "";
    const legend = this.number.lines.map(({ column }) =>
      element("span", {}, element("i", { class: `swatch line-${column % LINES}` }), this.viewer.names[column], " ", element("b", {})),
    );
    this.figure.querySelector(".legend").replaceChildren(...legend);
  }

  /** The line of a frame, and the values there. */
  show(frame) {
    if (!this.figure) return;
    this.cursor.style.left = `${(100 * frame) / Math.max(1, this.count - 1)}%`;
    const values = this.figure.querySelectorAll(".legend b");
    this.number.lines.forEach((line, i) => {
      const value = line.values[frame];
      values[i].textContent = typeof value === "number" ? value.toFixed(this.number.digits) : (value ?? "–");
    });
  }
}

/** Colours of lines that the page's style has. */
const LINES = 6;
