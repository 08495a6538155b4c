// The produce and group commands of README.md with kafkajs, which reads only in groups and so has no `consume` here.
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

async function group(bootstrap, topic, groupId, countText) {
  await zstd.init();
  const count = Number(countText);
  const kafka = new Kafka({ clientId: "interop", brokers: bootstrap.split(","), logLevel: logLevel.ERROR });
  const consumer = kafka.consumer({ groupId });
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  const following = new Map();
  let seen = 0;
  await new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`only ${seen} of ${count} records came in time`)), 30000).unref();
    consumer.on(consumer.events.CRASH, (event) => reject(event.payload.error));
    consumer
      .run({
        autoCommit: false,
        eachMessage: async ({ partition, message }) => {
          if (seen === count) return;
          const headers = Object.entries(message.headers || {}).map(([name, value]) => [name, text(value)]);
          const [key, value] = [text(message.key), text(message.value)];
          const [offset, timestamp] = [Number(message.offset), Number(message.timestamp)];
          console.log(JSON.stringify({ partition, offset, timestamp, key, value, headers }));
          following.set(partition, offset + 1);
          seen += 1;
          if (seen === count) resolve();
        },
      })
      .catch(reject);
  });
  const offsets = [...following].map(([partition, offset]) => ({ topic, partition, offset: String(offset) }));
  await consumer.commitOffsets(offsets);
  await consumer.disconnect();
}

function text(value) {
  return value === null || value === undefined ? null : value.toString();
}

const COMMANDS = { produce, group };

const [command, ...rest] = process.argv.slice(2);
if (!COMMANDS[command]) {
  console.error("kafkajs reads only in groups");
  process.exit(2);
}
COMMANDS[command](...rest).then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
