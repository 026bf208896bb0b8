"use strict";
// The kiosk's page: asks for videos, shows previews as they come, then the video, and by itself when nobody is there.

const $ = (id) => document.getElementById(id);
const page = { settings: { title: "Filoscope", prompts: [], idle_seconds: 60 }, job: null, shown: null, events: null };

async function api(path, options) {
  const response = await fetch(path, { cache: "no-store", ...options });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.error?.message || `${response.status} ${response.statusText}`);
  return body;
}

function tell(text, bad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", bad);
}

// ── The screen

function showPreview(source, prompt) {
  $("preview").src = source;
  $("preview").alt = `Preview of: ${prompt}`;
  $("preview").hidden = false;
  $("hint").hidden = !page.attract;
}

function showVideo(video) {
  const screen = $("video");
  page.shown = video.id;
  screen.src = `v1/videos/${video.id}/content?format=mp4`;
  screen.setAttribute("aria-label", video.prompt);
  screen.hidden = false;
  screen.onplaying = () => { if (page.job === null) $("preview").hidden = true; };
  screen.play().catch(() => {});
  $("hint").hidden = !page.attract;
  for (const button of document.querySelectorAll("#videos button"))
    button.setAttribute("aria-current", String(button.dataset.id === video.id));
}

// ── Making

async function make(prompt) {
  const video = await api("v1/videos", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ prompt }),
  });
  follow(video);
  return video;
}

function follow(video) {
  page.events?.close();
  page.job = video.id;
  $("make").disabled = true;
  $("work").hidden = false;
  $("progress").value = 0;
  tell(video.queue_position > 0 ? `Waiting: ${video.queue_position} before this one.` : "Making it…");
  const events = (page.events = new EventSource(`v1/videos/${video.id}/events`));
  events.addEventListener("video.progress", (event) => {
    const progress = JSON.parse(event.data);
    $("progress").value = progress.progress ?? 0;
    if (progress.step > 0) tell(`Making it: step ${progress.step} of ${progress.steps}.`);
  });
  events.addEventListener("video.preview", (event) => {
    showPreview(`data:image/jpeg;base64,${JSON.parse(event.data).b64_jpeg}`, video.prompt);
  });
  const end = (event) => {
    events.close();
    page.job = null;
    $("make").disabled = false;
    $("work").hidden = true;
    const done = JSON.parse(event.data).video ?? video;
    if (event.type === "video.completed") {
      tell(`Here it is: ${done.prompt}`);
      showVideo(done);
      loadGallery();
    } else {
      $("preview").hidden = true;
      tell(`It failed: ${done.error?.message ?? "no reason was given"}`, true);
    }
  };
  events.addEventListener("video.completed", end);
  events.addEventListener("video.failed", end);
  events.onerror = () => { if (page.job === video.id) tell("The connection was lost; trying again…", true); };
}

$("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const prompt = $("prompt").value.trim();
  if (!prompt || page.job !== null) return;
  $("make").disabled = true;
  try {
    await make(prompt);
  } catch (error) {
    $("make").disabled = false;
    tell(error.message, true);
  }
});

// ── What it knows, what was made

async function loadWords() {
  const { data } = await api("v1/capabilities");
  const words = data[0]?.words;
  if (!words) return;
  const pick = (list) => list[Math.floor(Math.random() * list.length)][0];
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Surprise me";
  button.addEventListener("click", () => {
    $("prompt").value = `${pick(words.subjects)} ${pick(words.motions)} ${pick(words.places)}`;
    $("form").requestSubmit();
  });
  const subjects = words.subjects.map((names) => {
    const one = document.createElement("button");
    one.type = "button";
    one.textContent = names[0];
    one.addEventListener("click", () => {
      $("prompt").value = `${names[0]} ${pick(words.motions)} ${pick(words.places)}`;
      $("prompt").focus();
    });
    return one;
  });
  $("words").replaceChildren(button, ...subjects);
  $("words").hidden = false;
}

async function loadGallery() {
  const { data } = await api("v1/videos?limit=24");
  page.videos = data.filter((video) => video.status === "completed");
  $("videos").replaceChildren(...page.videos.map((video) => {
    const item = document.createElement("li");
    const button = document.createElement("button");
    const picture = document.createElement("img");
    button.type = "button";
    button.dataset.id = video.id;
    button.setAttribute("aria-current", String(page.shown === video.id));
    picture.src = `v1/videos/${video.id}/content?variant=thumbnail`;
    picture.alt = `Show: ${video.prompt}`;
    picture.loading = "lazy";
    button.append(picture);
    button.addEventListener("click", () => { showVideo(video); if (page.job === null) tell(video.prompt); });
    item.append(button);
    return item;
  }));
  $("gallery").hidden = page.videos.length === 0;
  return data;
}

// ── When nobody is there

let idleTimer;

function somebodyIsHere() {
  clearTimeout(idleTimer);
  if (page.attract) {
    clearTimeout(page.attract.timer);
    page.attract = null;
    document.documentElement.classList.remove("attract");
    $("hint").hidden = !$("video").hidden || !$("preview").hidden;
    $("hint").textContent = "What shall it show?";
    $("prompt").focus();
  }
  if (page.settings.prompts.length > 0) idleTimer = setTimeout(attract, page.settings.idle_seconds * 1000);
}

function attract() {
  if (page.job !== null || document.hidden) return somebodyIsHere();
  page.attract = { next: 0, timer: null };
  document.documentElement.classList.add("attract");
  $("hint").textContent = "Touch to make your own";
  $("hint").hidden = false;
  nextAttraction();
}

// A prompt that was made before is shown again, so that an idle kiosk computes each of them once.
async function nextAttraction() {
  const state = page.attract;
  if (!state) return;
  try {
    if (page.job === null) {
      const prompt = page.settings.prompts[state.next % page.settings.prompts.length];
      state.next += 1;
      const known = (await loadGallery()).find((video) => video.status === "completed" && video.prompt === prompt);
      if (page.attract !== state) return;
      if (known) showVideo(known);
      else await make(prompt);
    }
  } catch (error) {
    tell(error.message, true);
  }
  if (page.attract === state) state.timer = setTimeout(nextAttraction, 8000);
}

for (const kind of ["pointerdown", "keydown", "wheel"]) addEventListener(kind, somebodyIsHere, { passive: true });

(async () => {
  try {
    Object.assign(page.settings, await api("kiosk.json"));
    $("title").textContent = document.title = page.settings.title;
    await loadWords();
    const videos = await loadGallery();
    const going = videos.find((video) => video.status === "in_progress" || video.status === "queued");
    if (going) follow(going);
    else if (page.videos.length > 0) showVideo(page.videos[0]);
  } catch (error) {
    tell(error.message, true);
  }
  $("prompt").focus();
  somebodyIsHere();
})();
