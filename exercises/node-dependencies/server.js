// A web page that greets its user, whose name comes from the environment variable USER.
"use strict";

const http = require("node:http");
const escape = require("escape-html");

const greeting = "Good morning";
const user = process.env.USER || "nobody";

const server = http.createServer((request, response) => {
  response.setHeader("Content-Type", "text/html; charset=utf-8");
  response.end(`<!DOCTYPE html><title>A page</title><h1>${greeting}, ${escape(user)}</h1>\n`);
});

server.listen(80, () => console.log("listening on port 80"));
process.on("SIGTERM", () => process.exit(0));
