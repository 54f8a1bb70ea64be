"""Edges by OpenCV's Canny of pictures made here: `python make.py`, with the versions that case.json names. Writes beside itself."""
import json
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

HERE = Path(__file__).parent
rng = np.random.Generator(np.random.PCG64(20))


def photo(height, width):
    """Smooth shapes under noise of several scales, as in a photograph."""
    total = np.zeros((height, width, 3))
    for scale, weight in ((16, 90), (6, 50), (2, 25), (1, 12)):
        coarse = rng.uniform(-1, 1, (height // scale + 2, width // scale + 2, 3)).astype(np.float32)
        total += weight * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(np.rint(total + 128), 0, 255).astype(np.uint8)


def shapes(height, width):
    """Flat colours with slanted borders, circles and letters."""
    picture = np.full((height, width, 3), (250, 246, 230), np.uint8)
    cv2.rectangle(picture, (5, 6), (40, 30), (200, 30, 40), -1)
    cv2.circle(picture, (70, 40), 21, (30, 60, 200), -1)
    cv2.line(picture, (0, height - 1), (width - 1, 8), (20, 160, 70), 3)
    cv2.putText(picture, "Edge 22", (6, height - 14), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (40, 40, 40), 2)
    return picture


def ramps(height, width):
    """Gradients along x, y and the diagonal, one a channel, with steps: ties between neighbours and channels."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([4 * x, 5 * (y // 3), 3 * (x + y) // 2 * 7], -1).astype(np.uint8)


PICTURES = {
    "photo": photo(75, 97),
    "soft": (photo(70, 90).astype(np.int32) // 2 + 64).astype(np.uint8),
    "shapes": shapes(80, 121),
    "ramps": ramps(41, 53),
    "noise": rng.integers(0, 256, (33, 40, 3), dtype=np.uint8),
    "checks": np.kron(rng.integers(0, 2, (9, 11, 3), dtype=np.uint8) * 255, np.ones((5, 5, 1), np.uint8)),
    "column": rng.integers(0, 256, (37, 1, 3), dtype=np.uint8),
    "row": rng.integers(0, 256, (1, 37, 3), dtype=np.uint8),
    "pixel": rng.integers(0, 256, (1, 1, 3), dtype=np.uint8),
    "two": rng.integers(0, 256, (2, 2, 3), dtype=np.uint8),
}
THRESHOLDS = ((100, 200), (0, 0), (20, 60), (50, 255), (200, 100), (255, 255), (0, 255))

cases = []
for name, picture in PICTURES.items():
    Image.fromarray(picture).save(HERE / f"{name}.png", optimize=True)
    for low, high in THRESHOLDS:
        edges = cv2.Canny(picture, low, high)
        file = f"{name}.{low}-{high}.png"
        Image.fromarray(edges).save(HERE / file, optimize=True)
        cases.append({"picture": f"{name}.png", "low": low, "high": high, "edges": file, "count": int((edges > 0).sum())})

about = {
    "name": "opencv-canny",
    "about": "cv2.Canny(picture, low, high) of RGB pictures, 8 bits; white edges on black",
    "versions": {"opencv-python-headless": cv2.__version__, "numpy": np.__version__, "pillow": Image.__version__},
    "script": "make.py",
    "cases": cases,
}
(HERE / "case.json").write_text(json.dumps(about, indent=1) + "\n")
