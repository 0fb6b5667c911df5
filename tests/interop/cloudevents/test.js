// What the SDK sends in each mode is stored once, as the event that it was, and read back by the SDK.
import assert from "node:assert";
import { CloudEvent, HTTP, Mode, emitterFor, httpTransport } from "cloudevents";

const base = process.argv[2];
const events = (stream) => `${base}/v1/streams/${stream}/events`;

async function sql(query) {
  const answer = await fetch(`${base}/v1/sql`, { method: "POST", body: query });
  assert.equal(answer.status, 200, await answer.clone().text());
  return (await answer.json()).rows;
}

async function post(stream, headers, body) {
  const answer = await fetch(events(stream), { method: "POST", headers, body });
  return [answer.status, await answer.json()];
}

const samples = [
  { id: "1", data: { total: 12, text: "caf\u00e9 \u{1F600}" } },
  { id: "2", data: [1, 2, 3], subject: 'a "quoted" subject', partitionkey: "user-7" },
  { id: "3", data: "plain text", datacontenttype: "text/plain" },
  { id: "4", data: Buffer.from([0, 255, 1, 2]), datacontenttype: "application/octet-stream" },
  { id: "5", time: "2024-05-06T07:08:09.010Z", data: { n: 1 }, traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" },
].map((event) => new CloudEvent({ source: "/interop", type: "weir.test", ...event }));

function same(stored, sent) {
  const got = HTTP.toEvent({ headers: { "content-type": "application/cloudevents+json" }, body: stored });
  for (const name of ["id", "source", "type", "specversion", "time", "partitionkey", "traceparent"])
    assert.equal(got[name], sent[name], `${name} of ${sent.id}`);
  if (Buffer.isBuffer(sent.data)) assert.deepEqual(Buffer.from(got.data), sent.data);
  else assert.deepEqual(got.data, sent.data, `data of ${sent.id}`);
}

for (const mode of [Mode.BINARY, Mode.STRUCTURED]) {
  const stream = `interop_${mode}`;
  const emit = emitterFor(httpTransport(events(stream)), { mode });
  for (const event of samples) {
    await emit(event);
    await emit(event); // a consumer may take the same source and id for the same event
  }
  const rows = await sql(`SELECT event_id, event_type, event_source, key, payload FROM ${stream} ORDER BY event_id`);
  assert.equal(rows.length, samples.length, `${mode}: each event once`);
  rows.forEach(([id, type, source, key, payload], i) => {
    assert.deepEqual([id, type, source, key], [samples[i].id, "weir.test", "/interop", samples[i].partitionkey ?? null]);
    same(payload, samples[i]);
  });
  const [[at]] = await sql(`SELECT event_time FROM ${stream} WHERE event_id = '5'`);
  assert.equal(at, "2024-05-06T07:08:09.010Z");
}

// The other mode says the same event: it is a duplicate there.
for (const message of [HTTP.binary(samples[0]), HTTP.structured(samples[0])]) {
  const [status, answer] = await post("interop_binary", message.headers, message.body);
  assert.equal(status, 200);
  assert.deepEqual([answer.accepted, answer.duplicates], [0, 1]);
}

const batch = { "content-type": "application/cloudevents-batch+json" };
const [status, answer] = await post("interop_batch", batch, JSON.stringify(samples.slice(0, 3)));
assert.deepEqual([status, answer.accepted], [200, 3]);
assert.deepEqual((await post("interop_batch", batch, "[]"))[1].accepted, 0);

const consent = await fetch(events("interop_batch"), { method: "OPTIONS", headers: { "WebHook-Request-Origin": "interop.example" } });
assert.equal(consent.status, 200);
assert.equal(consent.headers.get("webhook-allowed-origin"), "*");

console.log("binary, structured, batched, each once and as it was sent");
