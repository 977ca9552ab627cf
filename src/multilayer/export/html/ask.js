/* node ask.js reader.js page.html < rows.json > answers.json: what a page says of rows. */

"use strict";

const fs = require("node:fs");
const reader = require(require("node:path").resolve(process.argv[2]));
const page = fs.readFileSync(process.argv[3], "utf8");
const part = (name) => page.split(`data-part="${name}">`)[1].split("</script>")[0];
const value = (role, x) => (x === null || role === "number" || role === "text" || role === "exposure" ? x : BigInt(x));

reader.load(JSON.parse(part("steps")), part("arrays")).then((model) => {
  const { columns } = JSON.parse(fs.readFileSync(0, "utf8")), n = columns[0]?.values.length ?? 0;
  const rows = Array.from({ length: n }, (_, i) =>
    Object.fromEntries(columns.map((each) => [each.name, value(each.role, each.values[i])])),
  );
  const answers = rows.map((row) => ({ encoded: Array.from(model.encode(row)), prediction: model.predict(row) }));
  process.stdout.write(JSON.stringify(answers));
});
