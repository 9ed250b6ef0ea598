// Has GitHub's own language server read files of GitHub Actions and reports what
// it finds: node workflows.js MODULES FILE…, with the folder of
// @actions/languageserver.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const { pathToFileURL } = require("node:url");
const { Client } = require("./lsp.js");

const [modules, ...files] = process.argv.slice(2);

async function main() {
  const server = path.join(modules, "node_modules", "@actions", "languageserver", "bin", "actions-languageserver");
  const client = new Client(process.execPath, [server, "--stdio"], () => null);
  let problems = 0;
  try {
    await client.request("initialize", { processId: process.pid, rootUri: null, capabilities: {}, initializationOptions: {} });
    client.notify("initialized", {});
    for (const file of files) {
      const uri = pathToFileURL(path.resolve(file)).href;
      client.notify("textDocument/didOpen", { textDocument: { uri, languageId: "yaml", version: 1, text: fs.readFileSync(file, "utf8") } });
      const said = await client.until((m) => m.method === "textDocument/publishDiagnostics" && m.params.uri === uri);
      for (const d of said.params.diagnostics) {
        problems++;
        console.error(`${file}:${d.range.start.line + 1}:${d.range.start.character + 1}: ${d.message}`);
      }
    }
  } finally {
    client.process.kill();
  }
  console.log(`actions-languageserver: ${files.length} files, ${problems} problems`);
  process.exitCode = problems > 0 ? 1 : 0;
}

main();
