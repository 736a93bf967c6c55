// Play raw float32 samples through a .nam with the official player core.
//
//   node play.mjs PACKAGE_FOLDER MODEL.nam SAMPLE_RATE IN.f32 OUT.f32
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { join } from "node:path";

const [folder, model, rate, source, destination] = process.argv.slice(2);
const wasm = readFileSync(join(folder, "dist", "nam.wasm"));
// The core fetches its binary, as in a browser; Node's fetch does not read files.
globalThis.fetch = async () =>
  new Response(wasm, { headers: { "Content-Type": "application/wasm" } });

const { createNamModule, NamWasmModule } = await import(
  pathToFileURL(join(folder, "dist", "index.js")).href
);
const core = NamWasmModule.fromModule(await createNamModule());
core.setSampleRate(Number(rate));
const instance = core.createInstance();
if (!core.loadModel(instance, readFileSync(model, "utf8"))) {
  console.error("the player refuses the model");
  process.exit(1);
}
const bytes = readFileSync(source);
const input = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
const output = new Float32Array(input.length);
const BLOCK = 128;
for (let start = 0; start < input.length; start += BLOCK) {
  core.process(
    instance,
    input.subarray(start, start + BLOCK),
    output.subarray(start, start + BLOCK),
  );
}
writeFileSync(destination, Buffer.from(output.buffer));
