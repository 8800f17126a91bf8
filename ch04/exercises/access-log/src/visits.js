'use strict';

const KEPT = 1000;

// Counts all visits and keeps the latest 1000 in a ring, so memory does not grow with them.
class VisitLog {
  constructor() {
    this.count = 0;
    this.ring = [];
  }

  add(clientIp) {
    this.ring[this.count % KEPT] = { clientIp, at: new Date().toISOString() };
    this.count += 1;
  }

  // The latest visits, newest first.
  latest(limit = 100) {
    const found = Math.min(limit, this.ring.length);
    return Array.from({ length: found }, (_, i) => this.ring[(this.count - 1 - i) % KEPT]);
  }
}

module.exports = { VisitLog };
