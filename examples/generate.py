"""A prompt to a file, with progress: generate.py PROMPT OUTPUT   (pip install httpx)"""
import json
import os
import sys

import httpx

prompt, output = sys.argv[1:]
socket = os.environ.get("FILOSCOPE_SOCKET", "/run/filoscope/filoscope.sock")
with httpx.Client(transport=httpx.HTTPTransport(uds=socket), base_url="http://filoscope", timeout=60) as client:
    video = client.post("/v1/videos", json={"prompt": prompt})
    if video.is_error:
        sys.exit(video.json()["detail"])
    id = video.json()["id"]
    with client.stream("GET", f"/v1/videos/{id}/events", timeout=None) as events:
        for line in events.iter_lines():
            if not line.startswith("data: "):
                continue
            event = json.loads(line[6:])
            if event["type"] == "video.progress":
                print(f"{event['progress']} %", file=sys.stderr)
            elif event["type"] == "video.failed":
                sys.exit(event["video"]["error"]["message"])
    content = client.get(f"/v1/videos/{id}/content", params={"format": "mp4"})
    content.raise_for_status()
    with open(output, "wb") as file:
        file.write(content.content)
