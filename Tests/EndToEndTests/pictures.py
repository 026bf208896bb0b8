"""Pictures made and read with the standard library alone: PNG files out, a video's y4m in."""
import math
import struct
import zlib


def png(width, height, colour):
    """colour(x, y) gives (r, g, b)."""
    rows = b"".join(b"\0" + bytes(c for x in range(width) for c in colour(x, y)) for y in range(height))

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def luma_frames(y4m):
    """(width, height, [luma bytes of each frame])."""
    end = y4m.index(b"\n")
    tags = {t[:1]: t[1:] for t in y4m[:end].decode().split()[1:]}
    width, height = int(tags["W"]), int(tags["H"])
    chroma = 2 * width * height if tags.get("C", "420").startswith("444") else 2 * ((width + 1) // 2) * ((height + 1) // 2)
    frames, place = [], end + 1
    while place < len(y4m):
        place = y4m.index(b"\n", place) + 1
        frames.append(y4m[place:place + width * height])
        place += width * height + chroma
    return width, height, frames


def decibels(a, b):
    error = sum((x - y) ** 2 for x, y in zip(a, b)) / len(a)
    return 10 * math.log10(255 ** 2 / max(error, 1e-9))


def multipart(**parts):
    """(content type, body); bytes are sent as files, text as fields."""
    body = b""
    for name, value in parts.items():
        head = f'--frontier\r\nContent-Disposition: form-data; name="{name}"'
        if isinstance(value, bytes):
            head += f'; filename="{name}"\r\nContent-Type: application/octet-stream'
        body += head.encode() + b"\r\n\r\n" + (value if isinstance(value, bytes) else str(value).encode()) + b"\r\n"
    return "multipart/form-data; boundary=frontier", body + b"--frontier--\r\n"
