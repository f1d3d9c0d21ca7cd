// Three planes of a case that follow one crosshair. Voxels are [slice, row, column]; lengths are mm.

const SVG = "http://www.w3.org/2000/svg";
const KEPT = 150;       // pictures in memory; one of 512 x 512 takes 1 MB
const AHEAD = 4;        // neighbours that are fetched before somebody asks
const AT_ONCE = 3;      // requests of one plane at a time
const CLICK_PX = 4;     // a pointer that moves less has clicked
const NOTCH_PX = 25;    // of a touch pad, for one slice
const LEAST_VIEW_MM = 170;
const LARGEST_ZOOM = 24;

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const element = (name, attributes) => {
  const found = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
  return found;
};

/** Where a point in LPS mm lies in the volume, as a fractional voxel. */
export function voxelOf(geometry, point) {
  const {slice_origins_mm: origins, row_step_mm: down, column_step_mm: across} = geometry;
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const minus = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
  const normal = [down[1] * across[2] - down[2] * across[1], down[2] * across[0] - down[0] * across[2], down[0] * across[1] - down[1] * across[0]];
  const depths = origins.map(origin => dot(origin, normal));
  const depth = dot(point, normal), last = depths.length - 1;
  const sign = depths[last] >= depths[0] ? 1 : -1;
  let at = 0;
  while (at < last - 1 && (depths[at + 1] - depth) * sign < 0) at += 1;
  let slice = last ? at + (depth - depths[at]) / (depths[at + 1] - depths[at]) : 0;
  slice = clamp(slice, 0, last);
  const low = Math.floor(slice), high = Math.min(low + 1, last), part = slice - low;
  const origin = origins[low].map((value, axis) => value + (origins[high][axis] - value) * part);
  const away = minus(point, origin);
  return [slice, dot(away, down) / dot(down, down), dot(away, across) / dot(across, across)];
}

/** Pictures by their address: the wanted one first, then its neighbours; what was used longest ago is dropped. */
class Pictures {
  constructor(address) {
    this.address = address;
    this.kept = new Map();
    this.waiting = new Map();
    this.wanted = {};
    this.ahead = {};
    this.running = {};
  }

  get(view, index, look) {
    const key = `${look}|${view}|${index}`;
    const found = this.kept.get(key);
    if (found) { this.kept.delete(key); this.kept.set(key, found); }
    return found;
  }

  want(view, index, look, ahead, arrived) {
    this.wanted[view] = {index, look, arrived};
    this.ahead[view] = ahead;
    this.pump(view);
  }

  pump(view) {
    const {look, index, arrived} = this.wanted[view];
    for (const next of [index, ...this.ahead[view]]) {
      if ((this.running[view] || 0) >= AT_ONCE) return;
      const key = `${look}|${view}|${next}`;
      if (!this.kept.has(key) && !this.waiting.has(key)) this.load(view, next, look, key, arrived);
    }
  }

  async load(view, index, look, key, arrived) {
    this.waiting.set(key, true);
    this.running[view] = (this.running[view] || 0) + 1;
    let pause = 0;
    try {
      const answer = await fetch(this.address(view, index, look), {headers: {Accept: "application/json"}});
      if (!answer.ok) throw new Error(String(answer.status));
      const plane = await answer.json();
      const picture = new Image();
      picture.src = plane.image;
      await picture.decode();
      plane.picture = picture;
      delete plane.image;
      this.kept.set(key, plane);
      for (const old of this.kept.keys()) {
        if (this.kept.size <= KEPT) break;
        this.kept.delete(old);
      }
      arrived(view, index, look, true);
    } catch (error) {
      pause = 1500;
      arrived(view, index, look, false);
    }
    setTimeout(() => {
      this.waiting.delete(key);
      this.running[view] -= 1;
      this.pump(view);
    }, pause);
  }
}

class Plane {
  constructor(node, name, owner) {
    this.node = node;
    this.name = name;
    this.owner = owner;
    this.view = owner.scene.views[name];
    this.canvas = node.querySelector("canvas");
    this.svg = node.querySelector("svg");
    this.busy = node.querySelector(".busy");
    this.drawing = this.canvas.getContext("2d");
    this.contours = element("g", {});
    this.overlay = element("g", {});
    this.svg.replaceChildren(this.contours, this.overlay);
    const [down, across] = this.view.pixel_mm;
    this.contours.setAttribute("transform", `scale(${across / 2} ${down / 2})`);
    this.width_mm = this.view.columns * across;
    this.height_mm = this.view.rows * down;
    this.centre = [this.width_mm / 2, this.height_mm / 2];
    this.zoom = 1;
    this.index = 0;
    this.shown = null;
    this.step = "FPL".includes(this.view.ends[1]) ? 1 : -1;
    for (const [side, letter] of Object.entries({up: "top", down: "bottom", left: "left", right: "right"})) {
      node.querySelector(`.letter.${side}`).textContent = this.view.letters[letter];
    }
  }

  // From voxels to mm within the plane, and back

  place(voxel) {
    const {axes, flipped, rows, columns, pixel_mm: [down, across]} = this.view;
    const row = flipped.down ? rows - 1 - voxel[axes.down] : voxel[axes.down];
    const column = flipped.across ? columns - 1 - voxel[axes.across] : voxel[axes.across];
    return [(column + .5) * across, (row + .5) * down];
  }

  voxel([x, y]) {
    const {axes, flipped, rows, columns, pixel_mm: [down, across]} = this.view;
    const row = clamp(y / down - .5, 0, rows - 1), column = clamp(x / across - .5, 0, columns - 1);
    const found = [0, 0, 0];
    found[axes.through] = this.index;
    found[axes.down] = flipped.down ? rows - 1 - row : row;
    found[axes.across] = flipped.across ? columns - 1 - column : column;
    return found;
  }

  get scale() {
    return Math.min(this.node.clientWidth / this.width_mm, this.node.clientHeight / this.height_mm) * this.zoom || 1;
  }

  under(event) {
    const box = this.node.getBoundingClientRect();
    return [this.centre[0] + (event.clientX - box.left - box.width / 2) / this.scale, this.centre[1] + (event.clientY - box.top - box.height / 2) / this.scale];
  }

  // Moving

  zoomBy(factor, around) {
    const before = this.scale;
    this.zoom = clamp(this.zoom * factor, 1, LARGEST_ZOOM);
    if (around) {
      const share = before / this.scale;
      this.centre = this.centre.map((value, axis) => around[axis] + (value - around[axis]) * share);
    }
    this.stayInside();
    this.draw();
  }

  stayInside() {
    const half = [this.node.clientWidth / 2 / this.scale, this.node.clientHeight / 2 / this.scale];
    [this.width_mm, this.height_mm].forEach((size, axis) => {
      this.centre[axis] = half[axis] * 2 >= size ? size / 2 : clamp(this.centre[axis], half[axis], size - half[axis]);
    });
  }

  /** The whole picture, or what is around a box of voxels. */
  fit(box) {
    this.zoom = 1;
    this.centre = [this.width_mm / 2, this.height_mm / 2];
    if (box) {
      const [a, b] = box.map(corner => this.place(corner));
      const size = Math.max(Math.abs(a[0] - b[0]), Math.abs(a[1] - b[1])) * 1.9;
      const room = Math.min(this.node.clientWidth, this.node.clientHeight) || 1;
      this.zoom = clamp(room / Math.max(size, LEAST_VIEW_MM) / this.scale, 1, LARGEST_ZOOM);
      this.centre = [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
    }
    this.stayInside();
  }

  /** Bring a voxel into the picture if it is not there. */
  reveal(voxel) {
    const [x, y] = this.place(voxel);
    const [width, height] = [this.node.clientWidth / 2 / this.scale, this.node.clientHeight / 2 / this.scale];
    if (Math.abs(x - this.centre[0]) > width * .9 || Math.abs(y - this.centre[1]) > height * .9) {
      this.centre = [x, y];
      this.stayInside();
    }
  }

  // Showing

  ahead() {
    const found = [];
    for (let away = 1; away <= AHEAD; away += 1) {
      for (const next of [this.index + away, this.index - away]) if (next >= 0 && next < this.view.count) found.push(next);
    }
    return found;
  }

  show(index) {
    this.index = clamp(Math.round(index), 0, this.view.count - 1);
    const look = this.owner.look;
    this.owner.pictures.want(this.name, this.index, look, this.ahead(), (...told) => this.owner.arrived(...told));
    const found = this.owner.pictures.get(this.name, this.index, look);
    if (found) this.put(found);
    else if (!this.late) this.late = setTimeout(() => { this.late = 0; this.busy.hidden = this.isCurrent(); }, 200);
    this.draw();
  }

  isCurrent() { return this.shown?.index === this.index && this.look === this.owner.look; }

  put(plane) {
    this.busy.hidden = true;
    if (this.shown === plane) return;
    this.shown = plane;
    this.look = this.owner.look;
    this.contours.replaceChildren(...plane.contours.map(one => {
      const model = this.owner.scene.segmentations[one.segmentation];
      const isOwn = one.kind === "strong" && one.segmentation === this.owner.own;
      const path = element("path", {d: one.path, stroke: model.colour, class: `${one.kind}${isOwn ? " own" : ""}${model.is_dashed ? " dashed" : ""}`});
      path.dataset.model = one.segmentation;
      return path;
    }));
    this.hide();
  }

  hide() {
    for (const path of this.contours.children) {
      const isOwn = path.classList.contains("own");
      const isHidden = isOwn ? !this.owner.showsOwn : !this.owner.showsOthers || this.owner.hidden.has(Number(path.dataset.model));
      path.setAttribute("display", isHidden ? "none" : "inline");
    }
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(this.node.clientWidth * ratio));
    this.canvas.height = Math.max(1, Math.round(this.node.clientHeight * ratio));
    this.stayInside();
    this.paint();
  }

  draw() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => { this.frame = 0; this.paint(); });
  }

  paint() {
    const {clientWidth: width, clientHeight: height} = this.node;
    if (!width || !height) return;
    const scale = this.scale, ratio = this.canvas.width / width;
    const left = this.centre[0] - width / 2 / scale, top = this.centre[1] - height / 2 / scale;
    this.drawing.setTransform(1, 0, 0, 1, 0, 0);
    this.drawing.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (this.shown) {
      this.drawing.setTransform(ratio * scale, 0, 0, ratio * scale, -left * scale * ratio, -top * scale * ratio);
      this.drawing.imageSmoothingQuality = "high";
      this.drawing.drawImage(this.shown.picture, 0, 0, this.width_mm, this.height_mm);
    }
    this.svg.setAttribute("viewBox", `${left} ${top} ${width / scale} ${height / scale}`);
    this.svg.setAttribute("preserveAspectRatio", "none");
    this.overlay.replaceChildren(...this.cross(scale), ...this.marks(scale), ...this.rubber());
    this.words(scale, width);
  }

  cross(scale) {
    const [x, y] = this.place(this.owner.cursor), gap = 14 / scale;
    const lines = [[0, y, x - gap, y], [x + gap, y, this.width_mm, y], [x, 0, x, y - gap], [x, y + gap, x, this.height_mm]];
    return lines.map(([x1, y1, x2, y2]) => element("line", {x1, y1, x2, y2, class: "cross"}));
  }

  marks(scale) {
    const through = this.view.axes.through, found = [];
    for (const mark of this.owner.marks) {
      const kind = `mark ${mark.kind || ""}${mark.isNow ? " now" : ""}`;
      if (mark.box) {
        const ends = mark.box.map(corner => corner[through]);
        if (this.index < Math.min(...ends) - .6 || this.index > Math.max(...ends) + .6) continue;
        const [a, b] = mark.box.map(corner => this.place(corner));
        const [width, height] = [Math.abs(a[0] - b[0]), Math.abs(a[1] - b[1])];
        found.push(element("rect", {x: Math.min(a[0], b[0]), y: Math.min(a[1], b[1]), width: Math.max(width, .01), height: Math.max(height, .01), class: kind}));
      } else if (Math.abs(mark.voxel[through] - this.index) < 1) {
        const [cx, cy] = this.place(mark.voxel);
        found.push(element("circle", {cx, cy, r: 7 / scale, class: kind}));
      }
    }
    return found;
  }

  rubber() {
    if (!this.band) return [];
    const [a, b] = this.band;
    return [element("rect", {x: Math.min(a[0], b[0]), y: Math.min(a[1], b[1]), width: Math.abs(a[0] - b[0]), height: Math.abs(a[1] - b[1]), class: "mark now"})];
  }

  words(scale, width) {
    const number = (this.shown?.index ?? this.index) + 1;
    this.node.querySelector(".caption").textContent = `${this.node.dataset.name} ${number}/${this.view.count}`;
    const length = [200, 100, 50, 20, 10, 5, 2, 1].find(one => one * scale <= width * .3) || 1;
    const ruler = this.node.querySelector(".ruler");
    ruler.hidden = false;
    ruler.firstElementChild.style.width = `${length * scale}px`;
    ruler.lastElementChild.textContent = length >= 10 ? `${length / 10} cm` : `${length} mm`;
  }
}

export class Planes {
  /**
   * nodes: elements with data-view; scene: of the service; address(view, index, look): of a picture;
   * told: {click(voxel), box(first, last), look()}.
   */
  constructor(nodes, scene, address, told) {
    this.scene = scene;
    this.told = told;
    this.own = scene.segment.place[0];
    this.pictures = new Pictures(address);
    this.cursor = [...scene.start];
    this.marks = [];
    this.hidden = new Set();
    this.showsOwn = this.showsOthers = true;
    this.window = scene.window;
    this.look = this.lookOf(scene.window);
    this.all = new Map(nodes.map(node => [node.dataset.view, new Plane(node, node.dataset.view, this)]));
    this.active = this.all.get("axial");
    const watch = new ResizeObserver(() => this.all.forEach(one => one.resize()));
    this.all.forEach(one => { this.listen(one); watch.observe(one.node); });
    this.activate(this.active);
    this.isNear = false;
    this.home();
  }

  lookOf(look) { return `${look.level_hu},${look.width_hu}`; }

  arrived(view, index, look, isThere) {
    const plane = this.all.get(view);
    if (!isThere) { plane.busy.textContent = "no response, retrying"; plane.busy.hidden = plane.isCurrent(); return; }
    plane.busy.textContent = "loading";
    if (look !== this.look || plane.isCurrent()) return;
    // While somebody scrolls fast the pictures on the way are shown too, as long as they come nearer.
    const isNearer = !plane.shown || Math.abs(index - plane.index) <= Math.abs(plane.shown.index - plane.index);
    if (index !== plane.index && !isNearer) return;
    plane.put(this.pictures.get(view, index, look));
    plane.draw();
    this.told.drawn?.(view);
  }

  get isDrawn() { return [...this.all.values()].every(one => one.isCurrent()); }

  // Where

  goTo(voxel) {
    this.cursor = [...voxel];
    this.all.forEach(plane => { plane.show(voxel[plane.view.axes.through]); plane.reveal(voxel); plane.draw(); });
  }

  scroll(steps, plane = this.active) {
    const index = clamp(plane.index + steps * plane.step, 0, plane.view.count - 1);
    if (index === plane.index) return;
    this.cursor[plane.view.axes.through] = index;
    plane.show(index);
    this.all.forEach(one => one.draw());
  }

  /** The segment close up; when that is so already, whole pictures. */
  home() {
    this.isNear = !this.isNear;
    const box = this.isNear ? this.scene.segment.box : null;
    this.all.forEach(one => one.fit(box));
    this.goTo(this.scene.start);
  }

  zoom(factor) { this.active.zoomBy(factor, this.active.place(this.cursor)); }

  activate(plane) {
    this.active = plane;
    this.all.forEach(one => one.node.classList.toggle("active", one === plane));
  }

  other(step) {
    const all = [...this.all.values()];
    const plane = all[(all.indexOf(this.active) + step + all.length) % all.length];
    this.activate(plane);
    if (document.activeElement?.classList.contains("plane")) plane.node.focus();
  }

  // How

  choose(window) {
    this.window = window;
    this.look = this.lookOf(window);
    this.all.forEach(one => one.show(one.index));
  }

  refreshContours() { this.all.forEach(one => one.hide()); }

  setMarks(marks) {
    this.marks = marks;
    this.all.forEach(one => one.draw());
  }

  // Pointers

  listen(plane) {
    const {node} = plane;
    let start = null, wheel = 0;
    node.addEventListener("focus", () => this.activate(plane));
    node.addEventListener("wheel", event => {
      event.preventDefault();
      this.activate(plane);
      const delta = event.deltaY * (event.deltaMode ? 40 : 1);
      if (event.ctrlKey || event.metaKey) {
        plane.zoomBy(Math.exp(-clamp(delta, -100, 100) / 400), plane.under(event));
        return;
      }
      if (Math.abs(delta) >= 50) { wheel = 0; this.scroll(Math.sign(delta), plane); return; }
      wheel += delta;
      const steps = Math.trunc(wheel / NOTCH_PX);
      if (steps) { wheel -= steps * NOTCH_PX; this.scroll(steps, plane); }
    }, {passive: false});
    node.addEventListener("pointerdown", event => {
      if (event.button !== 0) return;
      this.activate(plane);
      node.setPointerCapture(event.pointerId);
      start = {x: event.clientX, y: event.clientY, at: plane.under(event), centre: [...plane.centre], isBox: event.shiftKey, hasMoved: false};
    });
    node.addEventListener("pointermove", event => {
      if (!start) return;
      const away = [event.clientX - start.x, event.clientY - start.y];
      start.hasMoved ||= Math.hypot(...away) > CLICK_PX;
      if (!start.hasMoved) return;
      if (start.isBox) plane.band = [start.at, plane.under(event)];
      else {
        node.classList.add("dragging");
        plane.centre = start.centre.map((value, axis) => value - away[axis] / plane.scale);
        plane.stayInside();
      }
      plane.draw();
    });
    const ended = event => {
      if (!start) return;
      const {hasMoved, isBox, at} = start;
      start = null;
      node.classList.remove("dragging");
      plane.band = null;
      plane.draw();
      if (event.type === "pointercancel") return;
      if (isBox && hasMoved) this.told.box(plane.voxel(at), plane.voxel(plane.under(event)));
      else if (!hasMoved) this.told.click(plane.voxel(plane.under(event)));
    };
    node.addEventListener("pointerup", ended);
    node.addEventListener("pointercancel", ended);
  }
}
