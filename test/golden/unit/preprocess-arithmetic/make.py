"""
Resized, blurred, shuffled and scribbled pictures by Pillow, OpenCV, torch and controlnet_aux: `python make.py PATH-OF-controlnet_aux`,
with the versions that case.json names. Writes beside itself.
"""
import importlib.util
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from safetensors.numpy import save_file

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("controlnet_aux_util", Path(sys.argv[1]) / "util.py")
util = importlib.util.module_from_spec(spec)
spec.loader.exec_module(util)

rng = np.random.Generator(np.random.PCG64(21))
height, width = 61, 83
total = np.zeros((height, width, 3))
for scale, weight in ((16, 80), (6, 40), (1, 20)):
    coarse = rng.uniform(-1, 1, (height // scale + 2, width // scale + 2, 3)).astype(np.float32)
    total += weight * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
picture = np.clip(np.rint(total + 120), 0, 255).astype(np.uint8)
image = Image.fromarray(picture)
image.save(HERE / "picture.png", optimize=True)


def keep(name, array):
    Image.fromarray(array).save(HERE / f"{name}.png", optimize=True)


keep("gray", np.array(image.convert("L")))
for w, h in ((40, 29), (83, 30), (120, 61), (97, 140), (7, 5), (1, 1)):
    keep(f"smooth.{w}x{h}", np.array(image.resize((w, h), Image.BICUBIC)))
for sigma in (1.0, 2.5, 9.0):
    keep(f"blur.{sigma:g}", cv2.GaussianBlur(picture, (0, 0), sigma))
small = cv2.resize(picture, (round(width / 4), round(height / 4)), interpolation=cv2.INTER_AREA)
keep("tile", cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC))

# controlnet_aux's ContentShuffleDetector, its flow from numpy's global generator
np.random.seed(7)
x = util.make_noise_disk(height, width, 1, 256) * float(width - 1)
y = util.make_noise_disk(height, width, 1, 256) * float(height - 1)
flow = np.concatenate([x, y], axis=2).astype(np.float32)
keep("shuffle", cv2.remap(picture, flow, None, cv2.INTER_LINEAR))

# controlnet_aux's scribble: soft edges → nms, blur, threshold
edges = np.zeros((70, 90), np.uint8)
cv2.circle(edges, (40, 33), 22, 255, 3)
cv2.line(edges, (3, 66), (86, 11), 180, 5)
cv2.rectangle(edges, (60, 40), (84, 64), 90, 2)
edges = cv2.GaussianBlur(edges, (0, 0), 1.2)
keep("edges", edges)
strokes = util.nms(edges, 127, 3.0)
strokes = cv2.GaussianBlur(strokes, (0, 0), 3.0)
strokes[strokes > 4] = 255
strokes[strokes < 255] = 0
keep("scribble", strokes)

# numbers: torch's interpolate
plane = torch.from_numpy(rng.standard_normal((1, 2, 9, 13)).astype(np.float32))
tensors = {"plane": plane[0].permute(1, 2, 0).contiguous().numpy()}
for h, w in ((9, 13), (17, 29), (4, 5), (1, 3), (30, 13)):
    for filter, options in (
        ("linear", {"mode": "bilinear", "align_corners": False}),
        ("corners", {"mode": "bilinear", "align_corners": True}),
        ("cubic", {"mode": "bicubic", "align_corners": False}),
    ):
        resized = torch.nn.functional.interpolate(plane, (h, w), **options)
        tensors[f"{filter}.{w}x{h}"] = resized[0].permute(1, 2, 0).contiguous().numpy()
save_file(tensors, HERE / "tensors.safetensors")

about = {
    "name": "preprocess-arithmetic",
    "about": "the picture at other sizes, blurred, shuffled (seed 7); edges as scribble; planes [h, w, 2] at other sizes",
    "versions": {
        "opencv-python-headless": cv2.__version__,
        "torch": torch.__version__.split("+")[0],
        "controlnet_aux": "0.0.10",
        "numpy": np.__version__,
        "pillow": Image.__version__,
    },
    "script": "make.py",
}
(HERE / "case.json").write_text(json.dumps(about, indent=1) + "\n")
