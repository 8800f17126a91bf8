'use strict';

// The access log of chapter 4: POST /access-log keeps a visit, GET /stats counts them.
// Plain Node with one package; the syntax stays within Node 10, which older base images hold.

const crypto = require('crypto');
const http = require('http');
const net = require('net');
const { performance } = require('perf_hooks');
const rawBody = require('raw-body');

const { log } = require('./log');
const { VisitLog } = require('./visits');

const PORT = Number(process.env.PORT || 80);
const MAX_BODY = 64 * 1024; // bytes
const DRAIN_MS = 2000; // how long a client may go on sending after its request was refused
const STOP_MS = 500; // how long requests under way may take once SIGTERM has come
const REQUEST_ID = /^[A-Za-z0-9._-]{1,64}$/;

const visits = new VisitLog();

class HttpError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function readJson(req) {
  const text = await rawBody(req, { length: req.headers['content-length'], limit: MAX_BODY, encoding: 'utf-8' });
  try {
    return JSON.parse(text);
  } catch (_) {
    throw new HttpError(400, 'the body is not JSON');
  }
}

async function keepVisit(req) {
  const body = await readJson(req);
  const clientIp = body === null ? undefined : body.clientIp;
  if (typeof clientIp !== 'string' || net.isIP(clientIp) === 0) {
    throw new HttpError(400, 'clientIp must be an IPv4 or IPv6 address');
  }
  visits.add(clientIp);
  return { status: 201, body: { count: visits.count } };
}

const routes = {
  '/access-log': {
    GET: () => ({ status: 200, body: { visits: visits.latest() } }),
    POST: keepVisit,
  },
  '/stats': { GET: () => ({ status: 200, body: { count: visits.count } }) },
  '/health': { GET: () => ({ status: 200, body: { status: 'UP' } }) },
};

async function answer(req, path) {
  const route = Object.prototype.hasOwnProperty.call(routes, path) ? routes[path] : undefined;
  if (!route) {
    return { status: 404, body: { error: 'there is nothing at this path' } };
  }
  const handler = route[req.method === 'HEAD' ? 'GET' : req.method];
  if (!handler) {
    return { status: 405, headers: { Allow: Object.keys(route).join(', ') }, body: { error: 'method not allowed' } };
  }
  try {
    return await handler(req);
  } catch (error) {
    const status = error.status >= 400 && error.status < 500 ? error.status : 500;
    if (status === 500) {
      log('error', { message: String(error.stack || error) });
    }
    return { status, body: { error: status === 500 ? 'internal error' : error.message } };
  }
}

// What is left of a refused body is read and thrown away, so that the client gets to see the answer.
function drain(req) {
  if (req.complete) return;
  req.resume();
  setTimeout(() => req.complete || req.destroy(), DRAIN_MS).unref();
}

async function handle(req, res) {
  const started = performance.now();
  const path = req.url.split('?', 1)[0];
  const given = req.headers['x-request-id'];
  const requestId = REQUEST_ID.test(given || '') ? given : crypto.randomBytes(8).toString('hex');
  const { status, headers, body } = await answer(req, path);
  const text = JSON.stringify(body) + '\n';
  res.writeHead(status, {
    'Content-Type': 'application/json; charset=utf-8',
    'Content-Length': Buffer.byteLength(text),
    'X-Request-Id': requestId,
    ...headers,
  });
  res.end(text);
  drain(req);
  if (path !== '/health') {
    const ms = Math.round((performance.now() - started) * 100) / 100;
    log('info', { request_id: requestId, method: req.method, path: path.slice(0, 200), status, ms });
  }
}

// Keep-alive connections hold http.Server.close() open, so idle ones are ended by hand:
// closeIdleConnections() exists only since Node 18.2.
function stopOnSignal(server) {
  const sockets = new Set();
  let stopping = false;
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('request', (req, res) => {
    req.socket.busy = true;
    res.on('close', () => { req.socket.busy = false; });
    res.on('finish', () => {
      req.socket.busy = false;
      if (stopping) req.socket.end();
    });
  });
  const stop = (signal) => {
    if (stopping) return;
    stopping = true;
    log('info', { message: `${signal}: stopping with ${visits.count} visits counted` });
    server.close(() => process.exit(0));
    sockets.forEach((socket) => socket.busy || socket.destroy());
    setTimeout(() => process.exit(0), STOP_MS).unref();
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
}

function main() {
  // Slow senders are cut off; options an older Node does not know are ignored by it.
  const server = http.createServer({ connectionsCheckingInterval: 1000 }, handle);
  server.headersTimeout = 10 * 1000;
  server.requestTimeout = 15 * 1000;
  server.setTimeout(30 * 1000);
  server.on('clientError', (_, socket) => {
    if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
  });
  stopOnSignal(server);
  server.listen(PORT, () => log('info', { message: `listening on port ${server.address().port}` }));
}

main();
