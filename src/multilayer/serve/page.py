"""The page at /docs: what the server takes, and a form to try it. It loads nothing from elsewhere."""

HTML = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Predictions</title>
<style>
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --strong: #2563eb; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .3rem .6rem .3rem 0;
  border-bottom: 1px solid var(--line); vertical-align: top; }
code, pre, textarea { font: 13px/1.4 ui-monospace, monospace; }
pre, textarea { background: var(--soft); border: 1px solid var(--line); border-radius: 4px; padding: .6rem;
  width: 100%; box-sizing: border-box; overflow: auto; }
button { background: var(--strong); color: white; border: 0; border-radius: 4px; padding: .5rem 1.2rem;
  font: inherit; cursor: pointer; }
input { font: inherit; padding: .3rem; } .method { font-weight: 600; text-transform: uppercase; }
</style>
<body>
<h1 id="title">Predictions</h1>
<p id="about"></p>
<p id="login" hidden>This server asks for a token:
  <input id="token" type="password" autocomplete="off" aria-label="token">
  <button id="use">Use it</button></p>
<div id="rest" hidden>
<h2>Try it</h2>
<textarea id="row" rows="10" spellcheck="false" aria-label="row"></textarea>
<p><button id="send">Predict</button> <code>POST /predict</code></p>
<pre id="answer" hidden></pre>
<h2>Columns of a row</h2>
<table><thead><tr><th>column<th>holds<th>such as</thead><tbody id="columns"></tbody></table>
<h2>Routes</h2>
<table><tbody id="routes"></tbody></table>
<p><a href="openapi.json">openapi.json</a> describes them all, <a href="schema">schema</a> the rows.</p>
</div>
<script>
"use strict";
const $ = (id) => document.getElementById(id);
const headers = () => $("token").value ? { Authorization: "Bearer " + $("token").value } : {};
const line = (body, cells) => {
  const row = document.createElement("tr");
  for (const text of cells) {
    const cell = document.createElement("td");
    cell.textContent = text;
    row.append(cell);
  }
  body.append(row);
  return row;
};
async function start() {
  const found = await fetch("openapi.json", { headers: headers() });
  $("login").hidden = found.ok;
  if (!found.ok) return;
  const api = await found.json();
  $("title").textContent = document.title = api.info.title;
  $("about").textContent = api.info.description + " Version " + api.info.version + ".";
  const rule = api.components.schemas.Row, example = {};
  $("columns").replaceChildren();
  for (const [name, of] of Object.entries(rule.properties)) {
    const examples = of.examples || [];
    line($("columns"), [name, of.description || "", examples.join(", ")]);
    const types = [].concat(of.type || []);
    const other = types.includes("number") ? 1 : null;
    example[name] = of.enum ? of.enum[0] : examples.length ? examples[0] : other;
  }
  $("row").value = JSON.stringify(example, null, 2);
  $("routes").replaceChildren();
  for (const [path, methods] of Object.entries(api.paths))
    for (const [method, of] of Object.entries(methods))
      line($("routes"), [method, path, of.summary || ""]).firstChild.className = "method";
  $("rest").hidden = false;
}
$("use").onclick = start;
$("send").onclick = async () => {
  const answer = await fetch("predict", {
    method: "POST",
    headers: { ...headers(), "Content-Type": "application/json" },
    body: $("row").value,
  });
  const text = await answer.text();
  $("answer").hidden = false;
  try { $("answer").textContent = JSON.stringify(JSON.parse(text), null, 2); }
  catch { $("answer").textContent = text; }
};
start();
</script>
</body>
</html>
"""
