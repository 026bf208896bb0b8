"""What the official SDK does with the daemon; run by test_openai_sdk.py under each of its major versions.

openai_client.py SOCKET: prints one JSON object.
"""
import asyncio
import base64
import json
import sys
import warnings

import openai
from pictures import png

try:  # 3.x
    import httpx2 as httpx
except ImportError:
    import httpx

warnings.filterwarnings("ignore", category=DeprecationWarning)
SOCKET = sys.argv[1]
BASE = "http://filoscope/v1"
WANTED = {"prompt": "a frog bouncing on the grass", "model": "nano", "size": "64x64", "seconds": "2"}


def synchronous():
    client = openai.OpenAI(api_key="-", base_url=BASE, max_retries=0,
                           http_client=httpx.Client(transport=httpx.HTTPTransport(uds=SOCKET), timeout=120))
    made = client.videos.create_and_poll(**WANTED, extra_body={"seed": 7, "steps": 4})
    found = client.videos.retrieve(made.id)
    pictures = {variant: client.videos.download_content(made.id, variant=variant).read()[:12].hex()
                for variant in ("video", "thumbnail", "spritesheet")}
    others = [client.videos.create(**WANTED, extra_body={"steps": 1}).id for _ in range(3)]
    listed = [video.id for video in client.videos.list(limit=2)]  # pages by itself
    for id in others:
        client.videos.poll(id)
        client.videos.delete(id)
    refused = {}
    for name, change in (("size", {"size": "720x1280"}), ("prompt", {"prompt": ""}), ("model", {"model": "sora-2"})):
        try:
            client.videos.create(**{**WANTED, **change})
        except openai.APIStatusError as error:
            refused[name] = [error.status_code, error.param, type(error).__name__]
    try:
        client.videos.retrieve("video_0")
    except openai.NotFoundError as error:
        refused["id"] = [error.status_code, error.code, type(error).__name__]
    models = [model.id for model in client.models.list()]
    small = {**WANTED, "seconds": "1"}
    begun = client.videos.create(**small, input_reference=("ball.png", png(64, 64, lambda x, y: (3 * x, 99, 3 * y)),
                                                           "image/png"), extra_body={"steps": 1})
    remixed = client.videos.remix(made.id, prompt="a cat bouncing on the grass")
    longer = client.post("/videos/extensions", cast_to=object, body={
        "video": {"id": made.id}, "prompt": "a frog bouncing on the grass", "seconds": "1"})
    image = client.images.generate(prompt="a frog in the snow", extra_body={"steps": 1}).data[0].b64_json
    stream = client.images.generate(prompt="a frog", stream=True, partial_images=2, extra_body={"steps": 3})
    variations = {"begun": client.videos.poll(begun.id).status, "remixed": client.videos.poll(remixed.id).status,
                  "of": remixed.remixed_from_video_id, "longer": client.videos.poll(longer["id"]).seconds,
                  "image": base64.b64decode(image)[:4].hex(), "stream": [event.type for event in stream]}
    for video in client.videos.list():
        if video.id != made.id:
            client.videos.delete(video.id)
    return {"variations": variations, "status": made.status, "keys": sorted(found.to_dict()), "seconds": found.seconds, "pictures": pictures,
            "listed": listed, "others": others, "id": made.id, "refused": refused, "models": models}


async def concurrently(count):
    client = openai.AsyncOpenAI(api_key="-", base_url=BASE, max_retries=0, http_client=httpx.AsyncClient(
        transport=httpx.AsyncHTTPTransport(uds=SOCKET, limits=httpx.Limits(max_connections=40)), timeout=120))

    async def create(number):
        try:
            return (await client.videos.create(**WANTED, extra_body={"steps": 1, "seed": number})).id
        except openai.RateLimitError as error:
            return ["429", error.response.headers.get("retry-after")]

    answers = await asyncio.gather(*(create(number) for number in range(count)))
    accepted = [answer for answer in answers if isinstance(answer, str)]
    last = await client.videos.poll(accepted[-1])
    kept = [video.id async for video in client.videos.list(limit=100)]
    return {"accepted": accepted, "refused": [a for a in answers if not isinstance(a, str)], "last": last.status,
            "kept": kept}


print(json.dumps({"version": openai.__version__, "sync": synchronous(), "async": asyncio.run(concurrently(300))}))
