"""What the official SDK does with the daemon; run by test_openai_sdk.py under each of its major versions.

openai_client.py SOCKET: runs every check with the synchronous and with the asynchronous client, and prints what has passed as one
JSON object. Whatever is not as it must be ends the program with a traceback.
"""
import asyncio
import base64
import concurrent.futures
import contextlib
import inspect
import io
import json
import sys
import time
import warnings

import openai
from openai.types import Video
from pictures import luma_frames, png

try:  # 3.x
    import httpx2 as httpx
except ImportError:
    import httpx

warnings.filterwarnings("ignore", category=DeprecationWarning)
SOCKET = sys.argv[1]
SETTINGS = {"api_key": "-", "base_url": "http://filoscope/v1"}
PROMPT = "a frog bouncing on the grass"
SMALL = {"prompt": PROMPT, "model": "nano", "size": "64x64", "seconds": "1"}
ONE = {"steps": 1}
KEYS = ("id object model status progress created_at completed_at expires_at prompt size seconds remixed_from_video_id "
        "error").split()
BALL = png(64, 64, lambda x, y: (3 * x, 99, 3 * y))
BALL_URL = "data:image/png;base64," + base64.b64encode(BALL).decode()
CROWD = 300
CHECKS = []


def check(body):
    CHECKS.append(body)
    return body


class Client:
    """The synchronous or the asynchronous client behind the same `await`s; keeps what went over the wire."""

    def __init__(self, is_async, **options):
        self.is_async, self.sent, self.received = is_async, [], []
        transport = {"uds": SOCKET, "limits": httpx.Limits(max_connections=40)}

        def note_request(request):
            self.sent.append(request)

        def note_response(response):
            self.received.append((time.monotonic(), response))

        async def note_request_later(request):
            note_request(request)

        async def note_response_later(response):
            note_response(response)

        options = {"max_retries": 0, **SETTINGS, **options}
        if is_async:
            http = httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(**transport), timeout=120, event_hooks={
                "request": [note_request_later], "response": [note_response_later]})
            self.sdk = openai.AsyncOpenAI(http_client=http, **options)
        else:
            http = httpx.Client(transport=httpx.HTTPTransport(**transport), timeout=120, event_hooks={
                "request": [note_request], "response": [note_response]})
            self.sdk = openai.OpenAI(http_client=http, **options)
        self.videos = self.sdk.videos

    async def wait(self, answer):
        return await answer if inspect.isawaitable(answer) else answer

    async def all(self, page):
        return [entry async for entry in page] if self.is_async else list(page)

    async def create(self, *, extra=None, **fields):
        return await self.wait(self.videos.create(**{**SMALL, **fields}, extra_body={**ONE, **(extra or {})}))

    async def finish(self, video):
        video = await self.wait(self.videos.poll(video.id, poll_interval_ms=50))
        assert video.status == "completed", video
        return video

    async def post(self, path, body, cast_to=Video):
        return await self.wait(self.sdk.post(path, body=body, cast_to=cast_to))

    async def content(self, id, **options):
        return (await self.wait(self.videos.download_content(id, **options))).read()

    async def body(self, request):
        return await request.aread() if self.is_async else request.read()

    async def fails_inside(self, call):
        """Forms of the SDK's documentation that it can't send; that they can be sent one day is worth knowing."""
        before = len(self.sent)
        try:
            await self.wait(call())
        except RuntimeError as error:
            assert "Expected entry at" in str(error), error
            assert len(self.sent) == before
        else:
            raise AssertionError("the SDK takes an object now")

    async def refused(self, kind, answer, code=None, param=None):
        """The error that `answer`, called, must raise."""
        try:
            await self.wait(answer())
        except openai.APIStatusError as error:
            assert type(error) is kind, repr(error)
            assert code is None or error.code == code, error.body
            assert param is None or error.param == param, error.body
            assert isinstance(error.body["message"], str) and error.type.endswith("_error"), error.body
            return error
        raise AssertionError(f"{kind.__name__} was not raised")


@check
async def the_video_object(c):
    made = await c.create(extra={"seed": 7})
    assert type(made) is Video and made.object == "video" and made.status in ("queued", "in_progress"), made
    assert set(KEYS) <= set(made.to_dict()), made.to_dict()
    assert isinstance(made.model_extra["queue_position"], int) or made.status == "in_progress", made
    found = await c.finish(made)
    assert set(KEYS) <= set(found.to_dict()) and found.error is None and found.remixed_from_video_id is None
    assert found.progress == 100 and found.completed_at >= found.created_at > 0 and found.expires_at is None
    assert (found.prompt, found.model, found.size, found.seconds) == (PROMPT, "nano", "64x64", "1.125"), found
    own = found.model_extra
    assert (own["seed"], own["fps"], own["frames"], len(own["frames_sha256"])) == (7, 8, 9, 64), own
    assert own["queue_position"] is None and own["eta_ms"] is None
    # The same request as JSON gives the same frames.
    again = await c.finish(await c.post("/videos", {**SMALL, **ONE, "seed": 7}))
    assert again.model_extra["frames_sha256"] == own["frames_sha256"]


@check
async def what_goes_over_the_wire(c):
    await c.create()
    sent = c.sent[-1]
    assert sent.headers["content-type"].startswith("multipart/form-data"), sent.headers
    assert sent.headers["x-stainless-retry-count"] == "0" and "idempotency-key" not in sent.headers, sent.headers


@check
async def poll_asks_when_it_is_told_to(c):
    made = await c.wait(c.videos.create(**{**SMALL, "seconds": "4"}, extra_body={"steps": 12}))
    before = len(c.received)
    assert (await c.wait(c.videos.poll(made.id))).status == "completed"
    answers = c.received[before:]
    told = int(answers[0][1].headers["openai-poll-after-ms"])
    assert 200 <= told <= 2000 and len(answers) > 1, answers
    assert "openai-poll-after-ms" not in answers[-1][1].headers
    gaps = [after - earlier for (earlier, _), (after, _) in zip(answers, answers[1:])]
    assert min(gaps) >= told / 1000 - 0.02, (told, gaps)


@check
async def create_and_poll(c):
    made = await c.wait(c.videos.create_and_poll(**SMALL, extra_body=ONE))
    assert made.status == "completed"


@check
async def pictures_in_every_form(c):
    forms = [("ball.png", BALL, "image/png"), io.BytesIO(BALL), BALL]
    made = [await c.create(extra={"seed": 3}, input_reference=form) for form in forms]
    await c.fails_inside(lambda: c.create(input_reference={"image_url": BALL_URL}))
    made.append(await c.create(extra={"seed": 3, "input_reference": {"image_url": BALL_URL}}))
    assert b'name="input_reference[image_url]"' in await c.body(c.sent[-1])
    made.append(await c.post("/videos", {**SMALL, **ONE, "seed": 3, "input_reference": {"image_url": BALL_URL}}))
    shas = {(await c.finish(video)).model_extra["frames_sha256"] for video in made}
    assert len(shas) == 1, shas
    both = await c.finish(await c.create(extra={"seed": 3, "end_reference": {"image_url": BALL_URL}},
                                         input_reference=BALL))
    assert both.model_extra["frames_sha256"] not in shas
    await c.refused(openai.APIStatusError,
                    lambda: c.create(input_reference=("a.gif", b"GIF89a" + bytes(50))), "unsupported_media_type",
                    "input_reference")


@check
async def the_camera_is_off(c):
    await c.refused(openai.PermissionDeniedError,
                    lambda: c.create(extra={"input_reference": "camera", "consent": True}), "camera_not_allowed",
                    "input_reference")


@check
async def a_storyboard_in_both_forms(c):
    scenes = [{"prompt": PROMPT, "at": 0}, {"prompt": "a cat jumping at night", "at": 2}]
    made = [await c.wait(c.videos.create(prompt=PROMPT, extra_body={**ONE, "seed": 5, "storyboard": storyboard}))
            for storyboard in (scenes, json.dumps(scenes))]
    finished = [await c.finish(video) for video in made]
    assert len({video.model_extra["frames_sha256"] for video in finished}) == 1
    assert finished[0].model_extra["storyboard"] == scenes, finished[0].model_extra


@check
async def knobs_of_our_own(c):
    knobs = {"seed": 2**64 - 1, "steps": 2, "guidance": 2.5, "negative_prompt": "snow", "fps": 8, "loop": True}
    made = await c.create(extra=knobs)
    assert {name: made.model_extra[name] for name in knobs} == knobs, made.model_extra
    await c.refused(openai.BadRequestError, lambda: c.create(extra={"stepz": 1}), "unknown_field", "stepz")
    await c.refused(openai.BadRequestError, lambda: c.create(extra={"steps": "many"}), "invalid_value", "steps")


@check
async def errors_are_the_sdks_own(c):
    await c.refused(openai.BadRequestError, lambda: c.create(prompt=" "), "empty_prompt", "prompt")
    await c.refused(openai.UnprocessableEntityError, lambda: c.create(size="720x1280"), param="size")
    await c.refused(openai.UnprocessableEntityError, lambda: c.create(model="sora-2"), param="model")
    await c.refused(openai.UnprocessableEntityError, lambda: c.create(seconds="3600"), param="seconds")
    await c.refused(openai.NotFoundError, lambda: c.videos.retrieve("video_0"), "not_found")
    await c.refused(openai.NotFoundError, lambda: c.videos.delete("video_0"), "not_found")
    await c.refused(openai.NotFoundError, lambda: c.videos.download_content("video_0"), "not_found")
    await c.refused(openai.APIStatusError, lambda: c.create(input_reference=bytes(9 << 20)), "body_too_large")


@check
async def cancelling(c):
    made = await c.create(extra={"steps": 50})
    await c.refused(openai.ConflictError, lambda: c.videos.download_content(made.id), "wrong_state")
    stopped = await c.post(f"/videos/{made.id}/cancel", {})
    assert (stopped.status, stopped.error.code) == ("failed", "cancelled") and stopped.error.message, stopped
    assert (await c.wait(c.videos.poll(made.id))).status == "failed"


@check
async def extensions(c):
    made = await c.finish(await c.create())
    await c.fails_inside(lambda: c.videos.extend(prompt=PROMPT, seconds="1", video={"id": made.id}))
    longer = [await c.wait(c.videos.extend(prompt=PROMPT, seconds="1", video=openai.omit,
                                           extra_body={**ONE, "video": {"id": made.id}})),
              await c.post("/videos/extensions", {**ONE, "prompt": PROMPT, "seconds": "1", "video": {"id": made.id}}),
              await c.post("/videos/extensions", {**ONE, "prompt": PROMPT, "seconds": "1", "video": made.id,
                                                  "direction": "backward"})]
    assert [(await c.finish(video)).seconds for video in longer] == ["2.125"] * 3
    await c.refused(openai.BadRequestError,
                    lambda: c.videos.extend(prompt=PROMPT, seconds="1", video=BALL), param="video")


@check
async def edits_remixes_and_blends(c):
    made, other = [await c.finish(await c.create(extra={"seed": seed})) for seed in (1, 2)]
    avi = await c.content(made.id, extra_query={"format": "avi"})
    edited = [await c.wait(c.videos.edit(prompt="a cat", video=("made.avi", avi), extra_body={**ONE, "strength": 0.5})),
              await c.post("/videos/edits", {**ONE, "prompt": "a cat", "strength": 0.5, "video": {"id": made.id}}),
              await c.wait(c.videos.edit(prompt="a cat", video=openai.omit, extra_body={**ONE, "strength": 0.5, "video": {"id": made.id}}))]
    assert [video.model_extra["strength"] for video in edited] == [0.5] * 3
    remixed = await c.wait(c.videos.remix(made.id, prompt="a cat"))
    assert remixed.remixed_from_video_id == made.id
    blended = await c.post("/videos/blends", {**ONE, "from": made.id, "to": other.id, "seconds": "1"})
    for video in (*edited, remixed, blended):
        await c.finish(video)


@check
async def lists_and_pages(c):
    for video in await c.all(c.videos.list(limit=100)):
        await c.wait(c.videos.delete(video.id))
    made = [(await c.create()).id for _ in range(5)]
    assert [video.id for video in await c.all(c.videos.list(limit=2))] == made[::-1]
    assert [video.id for video in await c.all(c.videos.list(limit=2, order="asc"))] == made
    assert [video.id for video in await c.all(c.videos.list(after=made[3]))] == made[2::-1]
    page = await c.wait(c.videos.list(limit=2))
    assert (page.has_more, page.last_id, page.model_extra["first_id"]) == (True, made[3], made[4]), page
    assert page.model_extra["object"] == "list" and page.has_next_page()
    await c.refused(openai.BadRequestError, lambda: c.videos.list(limit=0), param="limit")
    for id in made:
        await c.finish(await c.wait(c.videos.retrieve(id)))


@check
async def deleting(c):
    made = await c.finish(await c.create())
    gone = await c.wait(c.videos.delete(made.id))
    assert (gone.id, gone.deleted, gone.object) == (made.id, True, "video.deleted"), gone
    await c.refused(openai.NotFoundError, lambda: c.videos.retrieve(made.id), "not_found")


@check
async def contents(c):
    made = await c.finish(await c.create())
    assert (await c.content(made.id))[4:8] == b"ftyp"
    for variant in ("thumbnail", "spritesheet"):
        assert (await c.content(made.id, variant=variant))[:3] == b"\xff\xd8\xff"
    assert (await c.content(made.id, extra_query={"format": "avi"}))[:4] == b"RIFF"
    width, height, frames = luma_frames(await c.content(made.id, extra_query={"format": "y4m"}))
    assert (width, height, len(frames)) == (64, 64, 9)
    await c.refused(openai.BadRequestError, lambda: c.videos.download_content(made.id, extra_query={"format": "mov"}))
    streamed = c.videos.with_streaming_response.download_content(made.id)
    if c.is_async:
        async with streamed as answer:
            parts = [part async for part in answer.iter_bytes(1000)]
    else:
        with streamed as answer:
            parts = list(answer.iter_bytes(1000))
    assert len(parts) > 1 and b"".join(parts) == await c.content(made.id)


@check
async def an_idempotency_key(c):
    async def ask(key, **fields):
        return await c.wait(c.videos.create(**{**SMALL, **fields}, extra_body=ONE, extra_headers={"Idempotency-Key": key}))

    key = f"key-{time.time_ns()}"
    assert (await ask(key)).id == (await ask(key)).id != (await ask(key + "b")).id
    await c.refused(openai.ConflictError, lambda: ask(key, prompt="a cat"), "idempotency_conflict", "Idempotency-Key")


@check
async def images(c):
    made = await c.wait(c.sdk.images.generate(prompt=PROMPT, n=2, extra_body=ONE))
    assert [base64.b64decode(image.b64_json)[:4] for image in made.data] == [b"\x89PNG"] * 2
    jpeg = await c.wait(c.sdk.images.generate(prompt=PROMPT, output_format="jpeg", extra_body=ONE))
    assert base64.b64decode(jpeg.data[0].b64_json)[:3] == b"\xff\xd8\xff"
    events = await c.all(await c.wait(c.sdk.images.generate(
        prompt=PROMPT, stream=True, partial_images=2, extra_body={"steps": 3})))
    assert [event.type for event in events] == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    assert [event.partial_image_index for event in events[:2]] == [0, 1]
    assert all(base64.b64decode(event.b64_json) for event in events)
    await c.refused(openai.BadRequestError, lambda: c.sdk.images.generate(prompt=PROMPT, n=5), param="n")


@check
async def models(c):
    found = await c.all(c.sdk.models.list())
    assert [(model.id, model.object) for model in found] == [("nano", "model")]


async def crowd(c):
    """Accepted or told to come back: nothing else, and what was accepted is there."""
    def create(number):
        return c.videos.create(**SMALL, extra_body={**ONE, "seed": number})

    def told(error):
        return int(error.response.headers["retry-after"])

    def create_now(number):
        try:
            return create(number).id
        except openai.RateLimitError as error:
            return told(error)

    async def create_later(number):
        try:
            return (await create(number)).id
        except openai.RateLimitError as error:
            return told(error)

    if c.is_async:
        answers = await asyncio.gather(*map(create_later, range(CROWD)))
    else:
        with concurrent.futures.ThreadPoolExecutor(CROWD) as threads:
            answers = list(threads.map(create_now, range(CROWD)))
    accepted = [answer for answer in answers if isinstance(answer, str)]
    assert len(answers) == CROWD and len(set(accepted)) == len(accepted) >= 16, len(accepted)
    assert all(answer > 0 for answer in answers if not isinstance(answer, str))
    kept = {video.id for video in await c.all(c.videos.list(limit=100))}
    assert set(accepted) <= kept
    return len(accepted)


async def patient_crowd(is_async):
    """With retries the SDK waits as `Retry-After` says, until everyone has a place."""
    c = Client(is_async, max_retries=30)
    if is_async:
        made = await asyncio.gather(*(c.create() for _ in range(40)))
    else:
        with concurrent.futures.ThreadPoolExecutor(40) as threads:
            made = list(threads.map(lambda _: c.videos.create(**SMALL, extra_body=ONE), range(40)))
    assert len({video.id for video in made}) == 40
    return max(int(request.headers["x-stainless-retry-count"]) for request in c.sent)


async def run(is_async):
    said = {"checks": []}
    for body in CHECKS:
        c = Client(is_async)
        started = time.monotonic()
        await body(c)
        said["checks"].append(body.__name__)
        print(f"{'async' if is_async else 'sync'} {body.__name__}: {time.monotonic() - started:.1f} s", file=sys.stderr)
    c = Client(is_async)
    said["accepted"] = await crowd(c)
    said["retries"] = await patient_crowd(is_async)
    for video in await c.all(c.videos.list(limit=100)):
        with contextlib.suppress(openai.NotFoundError):
            await c.wait(c.videos.delete(video.id))
    return said


print(json.dumps({"version": openai.__version__, "defined": [body.__name__ for body in CHECKS],
                  "sync": asyncio.run(run(False)), "async": asyncio.run(run(True))}))
