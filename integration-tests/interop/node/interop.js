// The produce command of README.md with kafkajs, which reads only in groups and so has no `consume` here.
const fs = require("fs");
const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = require("kafkajs");
const SnappyCodec = require("kafkajs-snappy");
const lz4 = require("lz4-napi");
const zstd = require("@bokuweb/zstd-wasm");

const TYPES = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
};

// kafkajs brings gzip only; the others are plugged in.
CompressionCodecs[CompressionTypes.Snappy] = SnappyCodec;
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async (encoder) => lz4.compressFrame(encoder.buffer),
  decompress: async (buffer) => lz4.decompressFrame(buffer),
});
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => Buffer.from(zstd.compress(encoder.buffer, 3)),
  decompress: async (buffer) => Buffer.from(zstd.decompress(buffer)),
});

async function produce(bootstrap, topic, codec, file) {
  await zstd.init();
  const lines = fs.readFileSync(file, "utf8").split("\n").filter(Boolean);
  const record = (line, timestamp, key, value) => ({
    key,
    value,
    timestamp: String(timestamp),
    headers: { client: "node", line: String(line) },
  });
  const messages = lines.map((text, line) => {
    const event = JSON.parse(text);
    return record(line, event.time, event.network, text);
  });
  const last = JSON.parse(lines[lines.length - 1]).time;
  const specials = [["special-empty", ""], ["special-null", null], [null, "keyless"]];
  specials.forEach(([key, value], index) => messages.push(record(lines.length + index, last, key, value)));

  const kafka = new Kafka({ clientId: "interop", brokers: bootstrap.split(","), logLevel: logLevel.ERROR });
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  for (let start = 0; start < messages.length; start += 500) {
    await producer.send({ topic, compression: TYPES[codec], acks: -1, messages: messages.slice(start, start + 500) });
  }
  await producer.disconnect();
}

const [command, ...rest] = process.argv.slice(2);
if (command !== "produce") {
  console.error("kafkajs reads only in groups");
  process.exit(2);
}
produce(...rest).catch((error) => {
  console.error(error);
  process.exit(1);
});
