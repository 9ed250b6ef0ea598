// Compares the JSON Schemas in schema/ with what other people's software makes
// of them; .ci/schemas runs it as: node schemas.js MODULES VERDICTS, with the
// folder of ajv, yaml and yaml-language-server, and the file of TestVerdicts.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const { createRequire } = require("node:module");
const { Client } = require("./lsp.js");

const [modules, verdicts] = process.argv.slice(2);
const root = path.dirname(__dirname);
const schemaFolder = path.join(root, "schema");
let problems = 0;

function problem(text) {
  problems++;
  console.error(`error: ${text}`);
}

function readSchemas() {
  const schemas = {};
  for (const file of fs.readdirSync(schemaFolder).filter((f) => f.endsWith(".schema.json"))) {
    schemas[file] = JSON.parse(fs.readFileSync(path.join(schemaFolder, file), "utf8"));
  }
  return schemas;
}

function compare(require, schemas) {
  const Ajv = require("ajv");
  const YAML = require("yaml");
  // Unions of types and properties of an object that another schema declares
  // are meant; all else that ajv finds strange in a schema is an error.
  const ajv = new Ajv({ strict: true, allowUnionTypes: true, strictRequired: false, strictTypes: false });
  for (const schema of Object.values(schemas)) ajv.addSchema(schema);

  const counts = { same: 0, valid: 0, unread: 0 };
  for (const [name, ours] of Object.entries(JSON.parse(fs.readFileSync(verdicts, "utf8")))) {
    if (!ours.yaml) {
      counts.unread++; // refused before any schema is asked
      continue;
    }
    const text = fs.readFileSync(path.resolve(schemaFolder, name), "utf8");
    const docs = YAML.parseAllDocuments(text);
    if (docs.length !== 1 || docs[0].errors.length > 0) {
      problem(`${name}: we read it, and yaml does not: ${docs[0]?.errors[0]?.message}`);
      continue;
    }
    const validate = ajv.getSchema(schemas[ours.schema].$id);
    const valid = validate(docs[0].toJS());
    if (valid !== ours.valid) {
      problem(`${name}: we say ${ours.valid}, ajv says ${valid}: ${ajv.errorsText(validate.errors)}`);
      continue;
    }
    counts.same++;
    counts.valid += valid ? 1 : 0;
  }
  if (counts.valid === 0 || counts.valid === counts.same) problem("the cases are all of one verdict");
  console.log(`ajv: ${counts.same} cases with the same verdict, ${counts.valid} of them valid; ${counts.unread} were no YAML of ours`);
}

async function edit(schemas) {
  const asked = new Set();
  const settings = { yaml: { validate: true, hover: true, completion: true, schemaStore: { enable: false } } };
  const client = new Client(process.execPath, [path.join(modules, "node_modules", "yaml-language-server", "bin", "yaml-language-server"), "--stdio"], (method, params) => {
    switch (method) {
      case "workspace/configuration":
        return params.items.map((i) => settings[i.section] ?? {});
      case "vscode/content": { // where the schemas are published
        const address = [params].flat()[0];
        const file = Object.keys(schemas).find((f) => schemas[f].$id === address);
        asked.add(file ?? address);
        return file ? JSON.stringify(schemas[file]) : "";
      }
    }
    return null;
  });
  try {
    await client.request("initialize", {
      processId: process.pid,
      rootUri: null,
      capabilities: { workspace: { configuration: true }, textDocument: { hover: { contentFormat: ["markdown"] }, completion: { completionItem: { snippetSupport: true } } } },
    });
    client.notify("initialized", {});
    client.notify("yaml/registerContentRequest", {});

    const uri = "file:///registry/modules/train-model/versions/1.0.0.yaml";
    const text = [
      `# yaml-language-server: $schema=${schemas["module-version.schema.json"].$id}`,
      "apiVersion: modyard.dev/v1",
      "kind: ModuleVersion",
      "module: train-model",
      "version: 1.0",
      "run:",
      "  command: [python, train.py]",
      "  deterministic: true",
      "  time",
      "",
    ].join("\n");
    const at = (line, character) => ({ textDocument: { uri }, position: { line, character } });
    client.notify("textDocument/didOpen", { textDocument: { uri, languageId: "yaml", version: 1, text } });

    const completion = await client.request("textDocument/completion", at(8, 6));
    const labels = (completion.items ?? completion).map((i) => i.label);
    if (!labels.includes("timeout")) problem(`the editor completes "time" to ${JSON.stringify(labels)}, not to "timeout"`);

    const hover = await client.request("textDocument/hover", at(7, 5));
    const said = JSON.stringify(hover?.contents ?? "");
    if (!said.includes("Whether the same inputs give the same result")) problem(`the editor explains "deterministic" as ${said}`);

    const found = await client.until((m) => m.method === "textDocument/publishDiagnostics" && m.params.diagnostics.some((d) => d.range.start.line === 4));
    const wrong = found.params.diagnostics.find((d) => d.range.start.line === 4);
    if (wrong.range.start.character !== 9 || !wrong.message.includes("string")) problem(`the editor says of version: 1.0: ${JSON.stringify(wrong)}`);

    for (const file of ["module-version.schema.json", "defs.schema.json"]) {
      if (!asked.has(file)) problem(`the editor did not ask for ${file} but for ${[...asked]}`);
    }
    console.log("yaml-language-server: a key completed, a text shown, a diagnostic at its place");
  } finally {
    client.process.kill();
  }
}

async function main() {
  const schemas = readSchemas();
  compare(createRequire(path.join(path.resolve(modules), "package.json")), schemas);
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("the language server did not answer within a minute")), 60_000);
  });
  await Promise.race([edit(schemas), late]).finally(() => clearTimeout(timer));
}

main()
  .catch((e) => problem(e.message))
  .finally(() => process.exit(problems === 0 ? 0 : 1));
