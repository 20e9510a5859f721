// Geometry. A row's pictures show one field of view, measured in pixels of the widest of them; the view says which part of it is
// seen, in device pixels of the canvas.

/** Pictures whose proportions differ by less are taken to show the same field: sizes are rounded to whole pixels. */
const SAME_PROPORTIONS = 0.01;
/** Device pixels per pixel that buttons and keys stop at. */
const STOPS = [1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64];

const byId = (id) => document.getElementById(id);

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

function fieldOf(pictures) {
  const { width, height } = pictures.reduce((a, b) => (b.width > a.width ? b : a));
  return { width, height };
}

/** Where a picture lies in the field: over all of it, or as large as fits if its proportions are others. */
function placeOf(picture, field) {
  const [x, y] = [field.width / picture.width, field.height / picture.height];
  if (Math.abs(x / y - 1) < SAME_PROPORTIONS) return { x: 0, y: 0, width: field.width, height: field.height };
  const scale = Math.min(x, y);
  const [width, height] = [picture.width * scale, picture.height * scale];
  return { x: (field.width - width) / 2, y: (field.height - height) / 2, width, height };
}

/** Cells for `count` pictures in the grid that shows them largest. */
function gridOf(count, size, field, gap) {
  let best = { zoom: -1 };
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const width = Math.max(1, Math.floor((size.width - gap * (columns - 1)) / columns));
    const height = Math.max(1, Math.floor((size.height - gap * (rows - 1)) / rows));
    const zoom = Math.min(width / field.width, height / field.height);
    if (zoom > best.zoom) best = { zoom, columns, width, height };
  }
  const { columns, width, height } = best;
  return Array.from({ length: count }, (_, i) => ({
    x: (i % columns) * (width + gap),
    y: Math.floor(i / columns) * (height + gap),
    width,
    height,
  }));
}

/** The part of the field that is seen: its centre, and device pixels per pixel of the field. */
class View {
  constructor() {
    Object.assign(this, { x: 0, y: 0, zoom: 1, fitted: true });
  }

  /** Whole multiples keep pixels square where they are large enough to be seen. */
  fitZoom(field, cell) {
    const zoom = Math.min(cell.width / field.width, cell.height / field.height);
    return zoom >= 1 && devicePixelRatio < 2 ? Math.floor(zoom) : zoom;
  }

  fit() {
    this.fitted = true;
  }

  /** Brings the view into its limits for a frame. */
  settle(field, cell) {
    if (this.fitted) Object.assign(this, { x: field.width / 2, y: field.height / 2, zoom: this.fitZoom(field, cell) });
    this.zoom = clamp(this.zoom, Math.min(this.fitZoom(field, cell), 1) / 4, STOPS.at(-1));
    const inside = (centre, length, room) => {
      const half = room / this.zoom / 2;
      return length <= 2 * half ? length / 2 : clamp(centre, half, length - half);
    };
    this.x = inside(this.x, field.width, cell.width);
    this.y = inside(this.y, field.height, cell.height);
  }

  /** The device pixel of the field's corner: a whole one, so that 1:1 shows pixels as they are. */
  origin(cell) {
    const at = (start, room, centre) => Math.round(start + room / 2 - centre * this.zoom);
    return { x: at(cell.x, cell.width, this.x), y: at(cell.y, cell.height, this.y) };
  }

  /** The point of the field under a device pixel. */
  pointAt(cell, at) {
    const origin = this.origin(cell);
    return { x: (at.x - origin.x) / this.zoom, y: (at.y - origin.y) / this.zoom };
  }

  pan(x, y) {
    this.fitted = false;
    this.x -= x / this.zoom;
    this.y -= y / this.zoom;
  }

  /** Changes the zoom so that the point of the field at `at` stays there. */
  zoomTo(zoom, cell, at) {
    this.fitted = false;
    const [x, y] = [at.x - cell.x - cell.width / 2, at.y - cell.y - cell.height / 2];
    zoom = clamp(zoom, STOPS[0] / 4, STOPS.at(-1));
    this.x += x / this.zoom - x / zoom;
    this.y += y / this.zoom - y / zoom;
    this.zoom = zoom;
  }

  /** The next stop up or down. */
  stop(direction) {
    const near = 1.001;
    if (direction > 0) return STOPS.find((stop) => stop > this.zoom * near) ?? STOPS.at(-1);
    return STOPS.findLast((stop) => stop < this.zoom / near) ?? STOPS[0];
  }
}

/** Device pixels per pixel of a picture. */
function scaleOf(picture, field, zoom) {
  return (zoom * placeOf(picture, field).width) / picture.width;
}

/** The level whose pixels are between half and all of a device pixel. */
function levelFor(scale) {
  return scale >= 1 ? 0 : Math.floor(-Math.log2(scale));
}

/** Draws what of a picture is seen through a cell, from the nearest level that is there. */
function paint(context, picture, { field, cell, view, smooth }) {
  const scale = scaleOf(picture, field, view.zoom);
  const bitmap = picture.nearest(levelFor(scale));
  if (!bitmap) return;
  const place = placeOf(picture, field);
  const origin = view.origin(cell);
  const along = (start, length, count, from, room) => {
    const size = (length * view.zoom) / count;
    // Two pixels more on either side than is seen, for the filter.
    const first = clamp(Math.floor((from - start) / size) - 2, 0, count);
    const last = clamp(Math.ceil((from + room - start) / size) + 2, first, count);
    return { first, count: last - first, start: start + first * size, length: (last - first) * size };
  };
  const x = along(origin.x + place.x * view.zoom, place.width, bitmap.width, cell.x, cell.width);
  const y = along(origin.y + place.y * view.zoom, place.height, bitmap.height, cell.y, cell.height);
  if (!x.count || !y.count) return;
  // Squares of between one and two device pixels would be of unequal sizes.
  context.imageSmoothingEnabled = smooth || (scale < 2 && scale !== 1);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, x.first, y.first, x.count, y.count, x.start, y.start, x.length, y.length);
}
