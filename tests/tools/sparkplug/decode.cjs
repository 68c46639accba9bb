// Lines `topic hex` in, a line of JSON for each out: what Eclipse Tahu's decoder for Node.js makes of a payload.
// The first argument is the folder with `node_modules`.
const path = require("path");
const codec = require(path.join(process.argv[2], "node_modules", "sparkplug-payload")).get("spBv1.0");

const plain = (x) => {
  if (x === null || x === undefined) return null;
  if (typeof x === "object" && typeof x.toNumber === "function") return x.toNumber();
  if (Buffer.isBuffer(x) || x instanceof Uint8Array) return Buffer.from(x).toString("hex");
  if (Array.isArray(x)) return x.map(plain);
  if (typeof x === "object") return Object.fromEntries(Object.entries(x).map(([k, v]) => [k, plain(v)]));
  return x;
};

require("readline").createInterface({ input: process.stdin }).on("line", (line) => {
  const [topic, hex] = line.split(" ");
  try {
    console.log(JSON.stringify({ topic, ...plain(codec.decodePayload(Buffer.from(hex, "hex"))) }));
  } catch (error) {
    console.log(JSON.stringify({ topic, error: String(error) }));
  }
});
