"""Shows whatever is being made on the console's screen: framebuffer.py [DEVICE]   (apt install python3-pil; group video)"""
import http.client
import io
import os
import pathlib
import socket
import sys

from PIL import Image

device = sys.argv[1] if len(sys.argv) > 1 else "/dev/fb0"
facts = pathlib.Path(os.environ.get("FRAMEBUFFER_FACTS", f"/sys/class/graphics/{pathlib.Path(device).name}"))
width, height = (int(side) for side in (facts / "virtual_size").read_text().split(","))
stride, depth = (int((facts / name).read_text()) for name in ("stride", "bits_per_pixel"))
if depth != 32:
    sys.exit(f"{device} has {depth} bits a pixel; this program writes 32")

connection = http.client.HTTPConnection("filoscope")
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect(os.environ.get("FILOSCOPE_SOCKET", "/run/filoscope/filoscope.sock"))
connection.request("GET", "/preview.mjpeg")
stream = connection.getresponse()
side = min(width, height)
left, top = (width - side) // 2, (height - side) // 2
with open(device, "r+b", buffering=0) as screen:
    while line := stream.readline():
        if not line.lower().startswith(b"content-length:"):
            continue
        length = int(line.split(b":")[1])
        while stream.readline().strip():
            pass
        picture = Image.open(io.BytesIO(stream.read(length))).convert("RGB").resize((side, side), Image.BICUBIC)
        pixels = picture.tobytes("raw", "BGRX")
        for row in range(side):
            screen.seek((top + row) * stride + left * 4)
            screen.write(pixels[row * side * 4:(row + 1) * side * 4])
