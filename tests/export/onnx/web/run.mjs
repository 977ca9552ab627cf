// Runs an exported file in ONNX Runtime Web on values from a JSON file, and prints what it says.
// node run.mjs PACKAGE MODEL VALUES
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [folder, model, values] = process.argv.slice(2);
const require = createRequire(pathToFileURL(`${folder}/package.json`));
const ort = require("onnxruntime-web");
ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(readFileSync(model), { executionProviders: ["wasm"] });
const feeds = {};
for (const [name, { type, data, dims }] of Object.entries(JSON.parse(readFileSync(values)))) {
  const typed = {
    float64: () => Float64Array.from(data, (each) => (each === null ? NaN : each)),
    int64: () => BigInt64Array.from(data, BigInt),
    string: () => data,
  }[type]();
  feeds[name] = new ort.Tensor(type, typed, dims);
}
const said = await session.run(feeds);
const bits = (each) =>
  each.type === "string" ? each.data : Array.from(each.data, (value) => (typeof value === "bigint" ? String(value) : value));
console.log(JSON.stringify(Object.fromEntries(Object.entries(said).map(([name, each]) => [name, bits(each)]))));
