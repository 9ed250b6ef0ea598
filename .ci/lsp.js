"use strict";

const { spawn } = require("node:child_process");

// Client speaks the language server protocol over stdio.
class Client {
  constructor(command, args, answer) {
    this.process = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
    this.answer = answer;
    this.waiting = new Map();
    this.heard = [];
    this.listeners = [];
    this.last = 0;
    let buffer = Buffer.alloc(0);
    this.process.stdout.on("data", (data) => {
      buffer = Buffer.concat([buffer, data]);
      for (;;) {
        const end = buffer.indexOf("\r\n\r\n");
        if (end < 0) return;
        const length = Number(/Content-Length: (\d+)/i.exec(buffer.subarray(0, end).toString())[1]);
        if (buffer.length < end + 4 + length) return;
        const message = JSON.parse(buffer.subarray(end + 4, end + 4 + length).toString());
        buffer = buffer.subarray(end + 4 + length);
        this.receive(message);
      }
    });
  }

  send(message) {
    const body = JSON.stringify({ jsonrpc: "2.0", ...message });
    this.process.stdin.write(`Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
  }

  receive(message) {
    if (message.method && message.id !== undefined) {
      this.send({ id: message.id, result: this.answer(message.method, message.params) });
    } else if (message.method) {
      this.heard.push(message);
      for (const f of this.listeners) f();
    } else {
      this.waiting.get(message.id)(message);
      this.waiting.delete(message.id);
    }
  }

  async request(method, params) {
    const id = ++this.last;
    const reply = new Promise((resolve) => this.waiting.set(id, resolve));
    this.send({ id, method, params });
    const { result, error } = await reply;
    if (error) throw new Error(`${method}: ${error.message}`);
    return result;
  }

  notify(method, params) {
    this.send({ method, params });
  }

  // until waits for a notification that fits.
  until(fits) {
    return new Promise((resolve) => {
      const look = () => {
        const found = this.heard.find(fits);
        if (found) resolve(found);
      };
      this.listeners.push(look);
      look();
    });
  }
}

module.exports = { Client };
