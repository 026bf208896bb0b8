"""Sprites: Noto Color Emoji glyphs and their English names, from distribution packages.

Needs the packages fonts-noto-color-emoji, unicode-cldr-core and unicode-data.
`extract` writes one PNG per glyph and an index; everything else reads that folder.
"""

import io
import json
import os
import xml.etree.ElementTree as ElementTree

import numpy
import torch
from PIL import Image

FONT = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
NAMES = "/usr/share/unicode/cldr/common/annotations/en.xml"
GROUPS = "/usr/share/unicode/emoji/emoji-test.txt"
LEFT_OUT_GROUPS = ("Flags", "Component", "Symbols")


def _groups():
    """Character -> emoji-test group."""
    result, group = {}, None
    with open(GROUPS, encoding="utf-8") as file:
        for line in file:
            if line.startswith("# group:"):
                group = line.split(":", 1)[1].strip()
            elif ";" in line and not line.startswith("#"):
                points = line.split(";")[0].split()
                text = "".join(chr(int(p, 16)) for p in points).replace("\ufe0f", "")
                result[text] = group
    return result


def extract(folder):
    """Write every single-character glyph that has a name to `folder`, once."""
    index_path = os.path.join(folder, "index.json")
    if os.path.exists(index_path):
        return
    from fontTools.ttLib import TTFont

    names = {}
    for note in ElementTree.parse(NAMES).getroot().iter("annotation"):
        if note.get("type") == "tts":
            names[note.get("cp").replace("\ufe0f", "")] = note.text.lower()
    groups = _groups()
    font = TTFont(FONT)
    bitmaps = font["CBDT"].strikeData[0]
    os.makedirs(folder, exist_ok=True)
    index = []
    for point, glyph in sorted(font.getBestCmap().items()):
        text = chr(point)
        group = groups.get(text)
        if glyph not in bitmaps or text not in names or group is None or group in LEFT_OUT_GROUPS:
            continue
        name = "%x.png" % point
        Image.open(io.BytesIO(bitmaps[glyph].imageData)).convert("RGBA").save(os.path.join(folder, name))
        index.append({"file": name, "name": names[text], "group": group})
    with open(index_path + ".part", "w") as file:
        json.dump(index, file, indent=0)
    os.replace(index_path + ".part", index_path)


def load(folder, names=None, size=32):
    """Sprites as premultiplied RGBA [count, 4, size, size] in 0..1, and their names.

    With `names`, those in that order; otherwise all of the folder.
    """
    extract(folder)
    with open(os.path.join(folder, "index.json")) as file:
        index = json.load(file)
    if names is not None:
        by_name = {entry["name"]: entry for entry in index}
        index = [by_name[name] for name in names]
    pictures = []
    for entry in index:
        image = Image.open(os.path.join(folder, entry["file"]))
        side = max(image.size)
        square = Image.new("RGBA", (side, side))
        square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        pixels = numpy.asarray(square.convert("RGBa").resize((size, size), Image.LANCZOS), dtype=numpy.float32) / 255
        pictures.append(torch.tensor(pixels).permute(2, 0, 1))
    return torch.stack(pictures), [entry["name"] for entry in index]
