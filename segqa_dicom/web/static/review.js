// The review page: keys, buttons, and what belongs together.

import {Draft, plain} from "./draft.js";
import {Planes, voxelOf} from "./planes.js";

const main = document.getElementById("main");
const page = JSON.parse(main.dataset.page);
const find = id => document.getElementById(id);
const all = selector => [...main.querySelectorAll(selector)];
const make = (name, properties = {}, ...children) => {
  const found = Object.assign(document.createElement(name), properties);
  found.append(...children);
  return found;
};
const {findings: types, severities, ratings, actions, confidences} = page.vocabulary;
const typeOf = id => types.find(one => one.id === id) || {id, name: id, key: "", severity: ""};

let planes = null;
let scene = null;
let armed = null;      // the finding that the next click places
let isFinishing = false;
let issue = -1;

const draft = new Draft(page, {
  state(kind, words) {
    const saved = find("saved");
    saved.className = `saved ${kind}`;
    saved.textContent = words;
    saved.title = words;
  },
  conflict: showConflict,
  restored() {
    const note = find("restored");
    note.hidden = false;
    note.textContent = "Unsaved input was restored.";
  },
  saved() { marks(); },
});
const isLocked = () => draft.status === "signed";

// What is said

function show() {
  const {content} = draft;
  for (const [name, attribute] of [["rating", "rating"], ["action", "action"], ["confidence", "confidence"]]) {
    for (const button of all(`[data-${attribute}]`)) {
      button.setAttribute("aria-pressed", String(button.dataset[attribute] === content[name]));
      button.disabled = isLocked();
    }
  }
  for (const button of all("[data-finding]")) {
    button.setAttribute("aria-pressed", String(content.findings.some(one => one.type === button.dataset.finding)));
    button.disabled = isLocked();
  }
  const comment = find("comment");
  if (comment.value !== content.comment) comment.value = content.comment;
  comment.disabled = isLocked();
  find("found").replaceChildren(...content.findings.map(row));
  marks();
}

function row(one) {
  const type = typeOf(one.type);
  const item = make("li", {className: one.severity});
  const severity = make("select", {ariaLabel: `severity of ${type.name}`, disabled: isLocked()}, ...severities.map(word => make("option", {value: word.id, textContent: word.name, selected: word.id === one.severity})));
  severity.addEventListener("change", () => { one.severity = severity.value; item.className = one.severity; changed(); severity.blur(); });
  const where = make("button", {type: "button", textContent: words(one), title: isPlaced(one) ? "show; the next click moves it" : "the next click in an image sets the location", disabled: isLocked()});
  where.setAttribute("aria-pressed", String(armed === one));
  where.addEventListener("click", () => { if (armed === one) arm(null); else { if (isPlaced(one) && planes) planes.goTo(voxel(one)); arm(one); } });
  const away = make("button", {type: "button", textContent: "×", ariaLabel: `remove ${type.name}`, disabled: isLocked()});
  away.addEventListener("click", () => remove(one));
  const note = make("input", {type: "text", placeholder: "note", value: one.comment || "", maxLength: page.longest, ariaLabel: `note on ${type.name}`, disabled: isLocked()});
  note.hidden = !one.comment;
  note.addEventListener("input", () => { one.comment = note.value; changed(); });
  const more = make("button", {type: "button", textContent: "note", ariaLabel: `note on ${type.name}`, hidden: !note.hidden, disabled: isLocked()});
  more.addEventListener("click", () => { more.hidden = true; note.hidden = false; note.focus(); });
  item.append(make("b", {textContent: type.name.split(" (")[0], title: type.name}), severity, where, more, away, note);
  return item;
}

const isPlaced = one => !!(one.voxel || one.point_mm);
const voxel = one => one.voxel || voxelOf(scene.geometry, one.point_mm);
const box = one => (one.voxel ? one.box : one.box_mm && corners(one.box_mm)) || null;

function corners(box_mm) { return box_mm.map(corner => voxelOf(scene.geometry, corner)); }

function words(one) {
  if (!isPlaced(one)) return "locate";
  if (!scene) return one.box || one.box_mm ? "box" : "located";
  return `${one.box || one.box_mm ? "box, " : ""}slice ${Math.round(voxel(one)[0]) + 1}`;
}

function marks() {
  if (!planes) return;
  const found = draft.content.findings.filter(isPlaced).map(one => ({voxel: voxel(one), box: box(one), isNow: one === armed}));
  const foreign = page.places.annotations.concat(page.places.others).map(one => ({voxel: voxelOf(scene.geometry, one.point_mm), box: one.box_mm && corners(one.box_mm), kind: "foreign"}));
  const machine = scene.checks.filter(Boolean).map(point => ({voxel: voxelOf(scene.geometry, point), kind: "machine"}));
  planes.setMarks([...machine, ...foreign, ...found]);
}

function changed() { draft.changed(); }

function choose(name, id) {
  if (isLocked()) return;
  draft.content[name] = draft.content[name] === id ? "" : id;
  show();
  changed();
}

function cycle(name, list) {
  const at = list.findIndex(one => one.id === draft.content[name]);
  draft.content[name] = at + 1 < list.length ? list[at + 1].id : "";
  show();
  changed();
}

function add(id) {
  if (isLocked()) return;
  const known = draft.content.findings.filter(one => one.type === id).at(-1);
  if (known) {
    const at = severities.findIndex(one => one.id === known.severity);
    known.severity = severities[(at + 1) % severities.length].id;
    if (!isPlaced(known)) armed = known;
  } else {
    const one = {type: id, severity: typeOf(id).severity, comment: "", point_mm: null, box_mm: null};
    draft.content.findings.push(one);
    armed = one;
  }
  show();
  hint();
  changed();
}

function remove(one) {
  if (isLocked() || !one) return;
  draft.content.findings = draft.content.findings.filter(other => other !== one);
  if (armed === one) armed = null;
  show();
  hint();
  changed();
}

// Where it is

function arm(one) {
  armed = one;
  show();
  hint();
}

function hint(words = "") {
  const node = find("hint");
  node.hidden = !(words || armed);
  if (words) node.textContent = words;
  else if (armed) node.replaceChildren(`Click the location: ${typeOf(armed.type).name.split(" (")[0]} · `, make("kbd", {textContent: "Shift"}), "+drag: a box · ", make("kbd", {textContent: "."}), " at the crosshair · ", make("kbd", {textContent: "Esc"}), " no location");
}

function put(point, ends = null) {
  const one = armed || (ends ? draft.content.findings.at(-1) : null);
  if (!one) { if (ends) hint("Add a finding first, then draw its box."); return; }
  if (isLocked()) return;
  one.voxel = point;
  one.box = ends;
  one.point_mm = one.box_mm = null;
  armed = null;
  show();
  hint();
  changed();
}

const middle = (a, b) => a.map((value, axis) => (value + b[axis]) / 2);

// Going on

async function go(then) {
  if (isFinishing) return;
  const finish = then === "next";
  const {content} = draft;
  if (finish && !isLocked() && !content.rating && !content.findings.length && !content.comment.trim()) {
    hint(`Enter a rating (${ratings.map(one => one.key).join(" ")}) or a finding first.`);
    return;
  }
  isFinishing = true;
  const isSaid = plain(content).findings.length || content.rating || content.comment || content.action || content.confidence;
  let told = null;
  if (isLocked() || (!finish && !isSaid && !draft.version)) {
    told = {next: page.links[then]};
    location.assign(told.next);
    return;
  }
  told = await draft.save({finish, then});
  isFinishing = false;
  if (told?.refused) return hint(told.refused);
  if (!told) {
    if (!draft.isInConflict) {
      hint("The service does not respond. Your input is kept in this browser and saved when it responds.");
      setTimeout(() => { if (!isFinishing && !draft.isInConflict) go(then); }, 1500);
    }
    return;
  }
  isFinishing = true;
  location.assign(told.next);
}

function showConflict(theirs) {
  const dialog = find("conflict");
  find("conflict-mine").replaceChildren(...said(draft.content));
  find("conflict-theirs").replaceChildren(...said(theirs.content));
  find("keep-mine").onclick = () => { dialog.close(); draft.decide(theirs, true); show(); };
  find("take-theirs").onclick = () => { dialog.close(); draft.decide(theirs, false); draft.status = theirs.status; show(); };
  dialog.oncancel = event => event.preventDefault();
  if (!dialog.open) dialog.showModal();
}

function said(content) {
  const name = (list, id) => list.find(one => one.id === id)?.name;
  const lines = [name(ratings, content.rating) || "no rating", ...content.findings.map(one => `${typeOf(one.type).name}, ${name(severities, one.severity) || ""}${isPlaced(one) ? ", located" : ""}${one.comment ? `: ${one.comment}` : ""}`), name(actions, content.action), content.confidence && `confidence: ${name(confidences, content.confidence)}`, content.comment && `“${content.comment}”`];
  return lines.filter(Boolean).map(line => make("p", {textContent: line}));
}

// Keys

const isKey = (event, name) => page.keys[name] && event.key.toLowerCase() === page.keys[name];

function inField(event) {
  const field = event.target;
  if (event.key === "Escape" || (event.key === "Enter" && field.tagName === "INPUT")) { field.blur(); event.preventDefault(); }
  else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); field.blur(); go("next"); }
}

function digit(event) {
  const found = /^(?:Digit|Numpad)([0-9])$/.exec(event.code);
  return found ? found[1] : /^[0-9]$/.test(event.key) ? event.key : "";
}

function pressed(event) {
  if (document.querySelector("dialog[open]")) return false;
  if (event.ctrlKey || event.metaKey || event.altKey) return false;
  const number = digit(event);
  if (number && event.shiftKey) return windowNumber(Number(number) - 1);
  const rating = ratings.find(one => one.key && (one.key === event.key || one.key === number));
  if (rating) { if (!event.repeat) choose("rating", rating.id); return true; }
  const type = types.find(one => one.key && one.key === event.key.toLowerCase());
  if (type) {
    if (event.shiftKey) remove(draft.content.findings.filter(one => one.type === type.id).at(-1));
    else if (!event.repeat) add(type.id);
    return true;
  }
  return command(event) || move(event);
}

function windowNumber(at) {
  const button = find("windows").children[at];
  button?.click();
  return !!button;
}

function command(event) {
  if (event.key === "Enter") {
    if (!event.shiftKey && event.target.closest("button, a, summary, select")) return false;
    if (!event.repeat) go(event.shiftKey ? "previous" : "next");
    return true;
  }
  if (event.key === "/") { find("comment").focus(); return true; }
  if (event.key === "?") { find("help").showModal(); return true; }
  if (event.key === "Escape") { arm(null); return true; }
  if (event.key === "." && planes) { put([...planes.cursor]); return true; }
  if (isKey(event, "action") && !isLocked()) { cycle("action", actions); return true; }
  if (isKey(event, "confidence") && !isLocked()) { cycle("confidence", confidences); return true; }
  if (isKey(event, "own")) { find("own").click(); return true; }
  if (isKey(event, "others")) { find("others").click(); return true; }
  if (isKey(event, "home")) { find("home").click(); return true; }
  if (isKey(event, "issue")) { nextIssue(); return true; }
  return false;
}

function move(event) {
  if (!planes || event.target.tagName === "SELECT") return false;
  const steps = {ArrowUp: -1, ArrowDown: 1, PageUp: -10, PageDown: 10}[event.key];
  if (steps) { planes.scroll(steps); return true; }
  const other = {ArrowLeft: -1, ArrowRight: 1}[event.key];
  if (other) { planes.other(other); return true; }
  if ("+=".includes(event.key)) { planes.zoom(1.25); return true; }
  if ("-_".includes(event.key)) { planes.zoom(.8); return true; }
  return false;
}

function nextIssue() {
  const places = planes ? scene.checks.filter(Boolean) : [];
  if (!places.length) return;
  issue = (issue + 1) % places.length;
  planes.goTo(voxelOf(scene.geometry, places[issue]));
}

document.addEventListener("keydown", event => {
  if (event.target.matches?.("textarea, input")) inField(event);
  else if (pressed(event)) event.preventDefault();
});
// After a click the keys belong to the page again; who walks by Tab keeps the focus.
document.addEventListener("click", event => {
  const button = event.target.closest?.("button");
  if (button && event.detail > 0) button.blur();
});

// Buttons

for (const button of all("[data-rating]")) button.addEventListener("click", () => choose("rating", button.dataset.rating));
for (const button of all("[data-action]")) button.addEventListener("click", () => choose("action", button.dataset.action));
for (const button of all("[data-confidence]")) button.addEventListener("click", () => choose("confidence", button.dataset.confidence));
for (const button of all("[data-finding]")) button.addEventListener("click", event => { if (event.shiftKey) remove(draft.content.findings.filter(one => one.type === button.dataset.finding).at(-1)); else add(button.dataset.finding); });
find("comment").addEventListener("input", event => { draft.content.comment = event.target.value; changed(); });
find("finish").addEventListener("click", () => go("next"));
find("previous").addEventListener("click", () => go("previous"));
find("ask").addEventListener("click", () => find("help").showModal());
find("reopen")?.addEventListener("click", async () => {
  const answer = await fetch(page.reopen, {method: "POST", headers: {"X-CSRF-Token": page.csrf, Accept: "application/json"}}).catch(() => null);
  if (answer?.ok) location.reload();
  else hint("The service does not respond; try again.");
});
for (const [name, places] of [["check", "checks"], ["annotation", "annotations"], ["other", "others"]]) {
  for (const button of all(`[data-${name}]`)) {
    button.addEventListener("click", () => {
      const place = planes && (places === "checks" ? scene.checks : page.places[places])[Number(button.dataset[name])];
      if (place) planes.goTo(voxelOf(scene.geometry, place.point_mm || place));
    });
  }
}

// Pictures

function toggles() {
  const press = (button, is) => button.setAttribute("aria-pressed", String(is));
  find("own").addEventListener("click", () => { planes.showsOwn = !planes.showsOwn; press(find("own"), planes.showsOwn); planes.refreshContours(); });
  find("others").addEventListener("click", () => { planes.showsOthers = !planes.showsOthers; press(find("others"), planes.showsOthers); planes.refreshContours(); });
  find("home").addEventListener("click", () => planes.home());
  const windows = scene.windows.some(one => one.level_hu === scene.window.level_hu && one.width_hu === scene.window.width_hu) ? scene.windows : [scene.window, ...scene.windows];
  find("windows").replaceChildren(...windows.slice(0, 9).map((one, at) => {
    const button = make("button", {type: "button", title: `window: width ${Math.round(one.width_hu)}, level ${Math.round(one.level_hu)} (Shift+${at + 1})`, textContent: one.name});
    press(button, one.level_hu === scene.window.level_hu && one.width_hu === scene.window.width_hu);
    button.addEventListener("click", () => {
      planes.choose(one);
      [...find("windows").children].forEach(other => press(other, other === button));
    });
    return button;
  }));
  find("legend").replaceChildren(...scene.segmentations.map((one, at) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 24 8");
    const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
    for (const [name, value] of Object.entries({d: "M0 4h24", stroke: one.colour, "stroke-width": at === planes.own ? 4 : 2.5, "stroke-dasharray": one.is_dashed ? "5 3" : "none"})) line.setAttribute(name, value);
    svg.append(line);
    const button = make("button", {type: "button", title: `${one.name}${one.has_structure ? "" : " (without this structure)"}: show or hide`}, svg, make("span", {textContent: at === planes.own ? `${one.name} (this)` : one.name}));
    press(button, true);
    button.addEventListener("click", () => {
      if (at === planes.own) { find("own").click(); press(button, planes.showsOwn); return; }
      if (planes.hidden.has(at)) planes.hidden.delete(at); else planes.hidden.add(at);
      press(button, !planes.hidden.has(at));
      planes.refreshContours();
    });
    return button;
  }));
}

const WORDS = {waiting: "Waiting", fetching: "Fetching the images", reading: "Reading the images"};

async function watchOpening() {
  const answer = await fetch(page.progress, {headers: {Accept: "application/json"}}).catch(() => null);
  if (scene || !answer?.ok) return;
  const told = await answer.json();
  if (!told.step) return;
  const bar = find("opening-bar");
  find("opening-words").textContent = WORDS[told.step] || `Opening the images: ${told.step}`;
  if (told.total > 1) { bar.max = told.total; bar.value = told.done; } else bar.removeAttribute("value");
}

async function open() {
  const watching = setInterval(watchOpening, 400);
  let pause = 1000;
  while (!scene) {
    try {
      const answer = await fetch(page.scene, {headers: {Accept: "application/json"}});
      const told = await answer.json();
      if (answer.ok) { scene = told; break; }
      find("opening-words").textContent = "The images cannot be shown";
      find("opening-note").textContent = told.message;
      if (answer.status < 500) { clearInterval(watching); find("opening-bar").hidden = true; return; }
    } catch {
      find("opening-note").textContent = "The service does not respond; retrying.";
    }
    await new Promise(done => setTimeout(done, pause));
    pause = Math.min(pause * 2, 10000);
  }
  clearInterval(watching);
  planes = new Planes(all(".plane"), scene, (view, index, look) => `${page.pictures}/${view}/${index}?${new URLSearchParams({window: look, segmentation: page.segmentation, segment: page.segment})}`, {
    click(point) { const before = armed; planes.goTo(point); if (before) put(point); },
    box(first, last) { put(middle(first, last), [first, last]); },
    drawn() { if (planes?.isDrawn) requestAnimationFrame(() => requestAnimationFrame(() => { main.dataset.drawn = "yes"; })); },
  });
  find("opening").hidden = true;
  if (["counterpart", "neighbours", "middle"].includes(scene.start_reason) && scene.segment.is_empty) hint({counterpart: "This segment is empty. Shown: the location in another model.", neighbours: "This segment is empty. Shown: the location expected from its neighbours.", middle: "This segment is empty."}[scene.start_reason]);
  for (const button of all("[data-check]")) {
    button.disabled = !scene.checks[Number(button.dataset.check)];
    button.querySelector(".there").hidden = button.disabled;
  }
  toggles();
  show();
}

// Time

let last = performance.now();
setInterval(() => {
  const now = performance.now();
  if (document.visibilityState === "visible" && !isLocked()) draft.content.seconds += Math.min((now - last) / 1000, 5);
  last = now;
}, 1000);

show();
open();
main.dataset.ready = "yes";
