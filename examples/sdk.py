"""A prompt to a file by the official SDK: sdk.py PROMPT OUTPUT   (pip install openai; 2.x or 3.x)"""
import os
import sys

import openai

try:  # openai 3.x
    import httpx2 as httpx
except ImportError:
    import httpx

prompt, output = sys.argv[1:]
socket = os.environ.get("FILOSCOPE_SOCKET", "/run/filoscope/filoscope.sock")
# The socket knows its users by themselves: the key is never looked at.
client = openai.OpenAI(api_key="-", base_url="http://filoscope/v1",
                       http_client=httpx.Client(transport=httpx.HTTPTransport(uds=socket)))
try:
    video = client.videos.create(model="nano", prompt=prompt)
except openai.APIStatusError as error:
    sys.exit(error.body["message"])
video = client.videos.poll(video.id)
if video.status == "failed":
    sys.exit(video.error.message)
client.videos.download_content(video.id).write_to_file(output)
