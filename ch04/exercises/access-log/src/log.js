'use strict';

// One JSON object a line on stdout. All three applications name their fields alike:
// ts, service, level, and for a request request_id, method, path, status, ms.
function log(level, fields) {
  const line = Object.assign({ ts: new Date().toISOString(), service: 'access-log', level }, fields);
  process.stdout.write(JSON.stringify(line) + '\n');
}

module.exports = { log };
