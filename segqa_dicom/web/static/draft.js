// What a reader types: kept in this browser at once, by the service a moment later; nothing is lost in between.

const PAUSE_MS = 400;
const RETRY_MS = [1000, 2000, 4000, 8000, 15000];
const FIELDS = ["rating", "action", "confidence", "comment"];

const finding = one => {
  const kept = {type: one.type, severity: one.severity, comment: one.comment || "", point_mm: one.point_mm || null, box_mm: one.box_mm || null};
  return one.voxel ? {...kept, point_mm: null, box_mm: null, voxel: one.voxel, box: one.box || null} : kept;
};

/** What is said, without what the page needs to show it. */
export const plain = content => ({
  ...Object.fromEntries(FIELDS.map(name => [name, content[name] || ""])),
  findings: content.findings.map(finding),
});

/** Whether two say the same; a place that has no millimetres yet is like any place. */
export function same(one, other) {
  const words = content => JSON.stringify({...plain(content), findings: content.findings.map(found => [found.type, found.severity, found.comment || "", !!(found.voxel || found.point_mm), !!(found.box || found.box_mm)])});
  if (words(one) !== words(other)) return false;
  return one.findings.every((found, at) => found.voxel || other.findings[at].voxel || JSON.stringify([found.point_mm, found.box_mm]) === JSON.stringify([other.findings[at].point_mm, other.findings[at].box_mm]));
}

const isEmpty = content => !FIELDS.some(name => content[name]?.trim()) && !content.findings.length;

export class Draft {
  /**
   * page: url, csrf, backup (name in this browser's storage), draft {content, version, status}
   * told: state(kind, words), conflict(theirs), restored(), saved()
   */
  constructor(page, told) {
    this.page = page;
    this.told = told;
    this.version = page.draft.version;
    this.status = page.draft.status;
    this.content = page.draft.content;
    this.isChanged = false;
    this.failures = 0;
    this.restore();
    addEventListener("online", () => this.hurry());
    addEventListener("pagehide", () => this.leave());
    document.addEventListener("visibilitychange", () => { if (document.visibilityState === "hidden") this.leave(); });
  }

  // In this browser

  backUp() {
    const kept = {version: this.version, content: {...plain(this.content), seconds: this.content.seconds}, sent: this.sent || null};
    try { localStorage.setItem(this.page.backup, JSON.stringify(kept)); } catch { /* full, or not allowed: the service has it soon */ }
  }

  forget() { try { localStorage.removeItem(this.page.backup); } catch { /* not allowed */ } }

  restore() {
    let kept = null;
    try { kept = JSON.parse(localStorage.getItem(this.page.backup)); } catch { /* not allowed, or not ours */ }
    if (!kept?.content) return;
    const theirs = this.content;
    if (same(kept.content, theirs)) return this.forget();
    const isNext = kept.version === this.version || (kept.sent && kept.version === this.version - 1 && same(kept.sent, theirs));
    const mine = {...theirs, ...kept.content};
    if (isNext && this.status !== "signed") {
      this.content = mine;
      this.isChanged = true;
      this.told.restored();
      this.soon(0);
      return;
    }
    this.content = mine;
    this.isInConflict = true;
    queueMicrotask(() => this.told.conflict({content: theirs, version: this.version, status: this.status}));
  }

  // To the service

  changed() {
    this.isChanged = true;
    this.backUp();
    if (!this.failures && !this.isInConflict) this.told.state("busy", "Saving…");  // it is not saved until it is
    this.soon(PAUSE_MS);
  }

  soon(pause) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.save(), pause);
  }

  hurry() { if (this.isChanged && !this.isInConflict) this.soon(0); }

  body(more) {
    return JSON.stringify({content: {...plain(this.content), seconds: Math.round(this.content.seconds)}, version: this.version, ...more});
  }

  request(body, isLast = false) {
    const headers = {"Content-Type": "application/json", "X-CSRF-Token": this.page.csrf, Accept: "application/json"};
    return fetch(this.page.url, {method: "PUT", headers, body, keepalive: isLast, redirect: "error"});
  }

  /** Save what there is, if there is something; more: {finish, then}. Gives the answer, or null if it must wait. */
  async save(more = null) {
    clearTimeout(this.timer);
    if (this.running) await this.running;
    if (this.isInConflict || !(this.isChanged || more)) return null;
    this.running = this.send(more);
    try { return await this.running; } finally {
      this.running = null;
      if (this.isChanged && !this.isInConflict && !this.isRefused) this.soon(this.failures ? RETRY_MS[Math.min(this.failures, RETRY_MS.length) - 1] : PAUSE_MS);
    }
  }

  async send(more) {
    const findings = this.content.findings.map(one => [one, one.voxel, one.box]);
    this.sent = {...plain(this.content)};
    this.isChanged = false;
    this.isRefused = false;
    this.backUp();
    this.told.state("busy", "Saving…");
    let answer, told;
    try {
      answer = await this.request(this.body(more || {}));
      told = await answer.json();
    } catch {
      return this.failed();
    }
    if (answer.status === 409 && told.draft) return this.differs(told.draft, more);
    if (answer.status >= 500) return this.failed();
    if (!answer.ok) {
      this.isChanged = true;
      this.isRefused = true;
      this.backUp();
      this.told.state("bad", told.message || "Not saved");
      return {refused: told.message || `status ${answer.status}`};
    }
    this.failures = 0;
    this.version = told.version;
    this.status = told.status;
    findings.forEach(([one, voxel, box], at) => {
      const kept = told.content.findings[at];
      if (!voxel || one.voxel !== voxel || one.box !== box || !kept) return;
      one.point_mm = kept.point_mm;
      one.box_mm = kept.box_mm;
      delete one.voxel;
      delete one.box;
    });
    this.sent = null;
    if (this.isChanged) this.backUp();
    else this.forget();
    this.told.state("good", more?.finish ? "Finished" : "Saved");
    this.told.saved();
    return told;
  }

  failed() {
    this.isChanged = true;
    this.failures += 1;
    this.backUp();
    this.told.state("bad", "Offline: kept in this browser");
    return null;
  }

  differs(theirs, more) {
    if (same(this.content, theirs.content)) {
      this.version = theirs.version;
      this.isChanged = false;
      this.forget();
      return more ? this.send(more) : theirs;
    }
    this.isChanged = true;
    this.isInConflict = true;
    this.backUp();
    this.told.state("bad", "Changed in another window");
    this.told.conflict(theirs);
    return null;
  }

  /** After a conflict: keep what is here, or take what was saved. */
  decide(theirs, isMine) {
    this.isInConflict = false;
    this.version = theirs.version;
    if (!isMine) {
      this.content = {...theirs.content, seconds: Math.max(theirs.content.seconds, this.content.seconds)};
      this.isChanged = false;
      this.forget();
      this.told.state("good", "Saved");
      return;
    }
    this.changed();
    this.soon(0);
  }

  /** The page goes away: what is not saved yet is sent without waiting for the answer. */
  leave() {
    if (!this.isChanged || this.isInConflict || this.running || (this.version === 0 && isEmpty(this.content))) return;
    this.backUp();
    this.request(this.body({}), true).then(async answer => {
      if (!answer.ok) return;
      const told = await answer.json();
      if (told.version > this.version && same(told.content, this.content)) {
        this.version = told.version;
        this.isChanged = false;
        this.forget();
      }
    }).catch(() => {});
  }
}
