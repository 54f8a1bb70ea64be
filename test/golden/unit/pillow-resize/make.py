"""Pictures resized by Pillow: the oracle of src/image/resize.ts. python make.py FOLDER"""
import base64, json, platform, sys, zlib
import numpy as np
import PIL
from PIL import Image

FILTERS = {"lanczos": Image.Resampling.LANCZOS, "bicubic": Image.Resampling.BICUBIC,
           "bilinear": Image.Resampling.BILINEAR, "box": Image.Resampling.BOX}
SIZES = [((37, 29), (50, 41)), ((37, 29), (16, 12)), ((37, 29), (37, 8)), ((37, 29), (11, 29)), ((40, 40), (20, 20)),
         ((5, 3), (24, 17)), ((1, 1), (7, 5)), ((60, 41), (32, 24)), ((60, 41), (1, 1)), ((12, 12), (12, 12)),
         # since Pillow 13 these are resized down first, then across; the last one still the other way round
         ((20, 30), (18, 12)), ((20, 30), (26, 12)), ((20, 30), (11, 12))]

def source(width, height):
    """Noise, hard edges and a ramp: overshoot at both ends of the range."""
    rng = np.random.Generator(np.random.PCG64(width * 1000 + height))
    a = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    a[: height // 2, : width // 2] = 255 * ((np.add.outer(np.arange(height // 2), np.arange(width // 2)) // 3) % 2)[..., None]
    a[height // 2 :, : width // 2, 0] = np.linspace(0, 255, width // 2).astype(np.uint8)[None]
    return a

def pack(a):
    return base64.b64encode(zlib.compress(a.tobytes(), 9)).decode()

cases, sources = [], {}
for (sw, sh), (w, h) in SIZES:
    a = source(sw, sh)
    sources[f"{sw}x{sh}"] = pack(a)
    for name, f in FILTERS.items():
        if name != "lanczos" and (w, h) not in ((16, 12), (24, 17)):
            continue
        cases.append({"from": [sw, sh], "to": [w, h], "filter": name, "rgb": pack(np.asarray(Image.fromarray(a).resize((w, h), f)))})
out = {"about": "RGB pictures resized by Pillow; pixels are zlib in base64", "sources": sources, "cases": cases,
       "provenance": {"pillow": PIL.__version__, "numpy": np.__version__, "python": platform.python_version()}}
json.dump(out, open(sys.argv[1] + "/resize.json", "w"), indent=1)
