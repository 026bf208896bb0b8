// A prompt to previews and a video, by Node alone: node watch.mjs PROMPT FOLDER
import { writeFileSync } from "node:fs";
import { request } from "node:http";

const [prompt, folder] = process.argv.slice(2);
const socketPath = process.env.FILOSCOPE_SOCKET ?? "/run/filoscope/filoscope.sock";

/** The answer's body in chunks; throws what the daemon says is wrong. */
async function* ask(path, method = "GET", body = undefined, headers = {}) {
  const answer = await new Promise((resolve, reject) => {
    if (body) headers["Content-Type"] = "application/json";
    request({ socketPath, path, method, headers }, resolve).on("error", reject).end(body && JSON.stringify(body));
  });
  if (answer.statusCode >= 400) throw new Error(JSON.parse(await whole(answer)).detail);
  yield* answer;
}

async function whole(chunks) {
  const all = [];
  for await (const chunk of chunks) all.push(chunk);
  return Buffer.concat(all);
}

const { id } = JSON.parse(await whole(ask("/v1/videos", "POST", { prompt })));
let text = "";
// From the first event on, however late this asks.
for await (const chunk of ask(`/v1/videos/${id}/events`, "GET", undefined, { "Last-Event-ID": "0" })) {
  text += chunk;
  const events = text.split("\n\n");
  text = events.pop();
  for (const event of events) {
    const data = JSON.parse(event.split("\n").find((line) => line.startsWith("data: ")).slice(6));
    if (data.type === "video.preview")
      writeFileSync(`${folder}/preview-${String(data.step).padStart(2, "0")}.jpg`, data.b64_jpeg, "base64");
    if (data.type === "video.failed") throw new Error(data.video.error.message);
  }
}
writeFileSync(`${folder}/video.mp4`, await whole(ask(`/v1/videos/${id}/content?format=mp4`)));
