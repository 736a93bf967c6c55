// Play raw float32 samples through a .nam with the official player core, block by block, timed.
//
//   node stream_core.mjs PACKAGE_FOLDER MODEL.nam SAMPLE_RATE BLOCK IN.f32 OUT.f32 MICROSECONDS.f32
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { join } from "node:path";

const [folder, model, rate, size, source, destination, times] = process.argv.slice(2);
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
const block = Number(size);
const QUANTUM = 128; // the core plays no more in a call: an AudioWorklet never asks for more
const taken = new Float32Array(Math.floor(input.length / block));
for (let number = 0; number < taken.length; number++) {
  const end = (number + 1) * block;
  const before = process.hrtime.bigint();
  for (let start = number * block; start < end; start += QUANTUM) {
    const stop = Math.min(end, start + QUANTUM);
    core.process(instance, input.subarray(start, stop), output.subarray(start, stop));
  }
  taken[number] = Number(process.hrtime.bigint() - before) / 1000;
}
writeFileSync(destination, Buffer.from(output.buffer));
writeFileSync(times, Buffer.from(taken.buffer));
