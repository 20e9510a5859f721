"""A small PNG with all that an image file may carry: opacity, 16 bits, a wide colour profile, ComfyUI's prompt and workflow.

Writes tests/fixtures/picture/profile_and_workflow.png: 44x30 pixels of smooth colours, a disc of opacity, a matrix profile with
Display P3's primaries (adapted to D50) and a pure gamma, and two tEXt chunks. Every byte follows from this file; needs nothing
but Python.
"""

import math
import struct
import zlib
from pathlib import Path

WIDTH, HEIGHT = 44, 30
TARGET = Path(__file__).parents[2] / "tests/fixtures/picture/profile_and_workflow.png"
PROMPT = '{"3": {"class_type": "KSampler", "inputs": {"seed": 7, "text": "caf\\u00e9"}}}'
WORKFLOW = '{"last_node_id": 3, "nodes": [{"id": 3, "type": "KSampler"}], "version": 0.4}'


def fixed(value):
    """ICC's s15Fixed16Number."""
    return struct.pack(">i", round(value * 65536))


def profile():
    """An ICC version 2 display profile: primaries, white point, one gamma of 2.2 for all channels."""
    xyz = lambda x, y, z: b"XYZ " + bytes(4) + fixed(x) + fixed(y) + fixed(z)
    text = b"vae2x test P3\0"
    description = b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(4 + 4 + 2 + 1 + 67)
    gamma = b"curv" + bytes(4) + struct.pack(">IH", 1, round(2.2 * 256))
    tags = [
        (b"desc", description),
        (b"cprt", b"text" + bytes(4) + b"CC0\0"),
        (b"wtpt", xyz(0.9642, 1.0, 0.8249)),
        (b"rXYZ", xyz(0.51512, 0.24120, -0.00105)),
        (b"gXYZ", xyz(0.29198, 0.69225, 0.04189)),
        (b"bXYZ", xyz(0.15710, 0.06657, 0.78407)),
        (b"rTRC", gamma),
        (b"gTRC", gamma),
        (b"bTRC", gamma),
    ]
    offset, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, data in tags:
        data += bytes(-len(data) % 4)
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += data
    size = offset + len(body)
    header = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += fixed(0.9642) + fixed(1.0) + fixed(0.8249)
    return header + bytes(128 - len(header)) + struct.pack(">I", len(tags)) + table + body


def sample(value):
    """A 16-bit sample of a value in [0, 1]."""
    return struct.pack(">H", round(min(max(value, 0.0), 1.0) * 65535))


def row(y):
    """A row of RGBA, without a filter."""
    data = b"\0"
    for x in range(WIDTH):
        distance = math.hypot(x - WIDTH / 2, y - HEIGHT / 2)
        colours = [x / WIDTH, y / HEIGHT, 0.5 + 0.4 * math.sin(x * 0.7) * math.cos(y * 0.5)]
        data += b"".join(map(sample, colours + [(14.0 - distance) / 4.0]))
    return data


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def main():
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 6, 0, 0, 0)
    rows = b"".join(map(row, range(HEIGHT)))
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    png += chunk(b"iCCP", b"vae2x test P3\0\0" + zlib.compress(profile()))
    png += chunk(b"tEXt", b"prompt\0" + PROMPT.encode())
    png += chunk(b"tEXt", b"workflow\0" + WORKFLOW.encode())
    png += chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_bytes(png)


if __name__ == "__main__":
    main()
