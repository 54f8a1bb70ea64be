"""
Edges and lines by the detectors of controlnet_aux with narrow networks of random weights: `python make.py PATH-OF-controlnet_aux`, with the
versions that case.json names. Writes beside itself.
"""
import functools
import importlib.util
import inspect
import json
import sys
import types
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

HERE = Path(__file__).parent
ROOT = Path(sys.argv[1])


def load(name, path):
    spec = importlib.util.spec_from_file_location(f"controlnet_aux.{name}", ROOT / path, submodule_search_locations=[str((ROOT / path).parent)])
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


sys.modules["controlnet_aux"] = types.ModuleType("controlnet_aux")
sys.modules["controlnet_aux"].__path__ = [str(ROOT)]
load("util", "util.py")
hed = load("hed", "hed/__init__.py")
lineart = load("lineart", "lineart/__init__.py")
anime = load("lineart_anime", "lineart_anime/__init__.py")

torch.manual_seed(22)


def picture(height, width):
    """Flat shapes: small files, clear edges."""
    canvas = np.full((height, width, 3), (236, 228, 200), np.uint8)
    cv2.circle(canvas, (width // 3, height // 2), height // 4, (40, 90, 180), -1)
    cv2.rectangle(canvas, (width // 2, height // 6), (width - 9, height // 2), (190, 40, 30), -1)
    cv2.line(canvas, (4, height - 5), (width - 6, height // 2), (20, 120, 60), 5)
    return canvas


def keep(name, array):
    Image.fromarray(array).save(HERE / f"{name}.png", optimize=True)


def save(module, name):
    save_file({key: value.contiguous() for key, value in module.state_dict().items()}, HERE / f"{name}.safetensors")


small = picture(64, 128)
keep("picture", small)
options = {"detect_resolution": 64, "image_resolution": 64, "output_type": "np"}

# HED, its blocks narrower
net = hed.ControlNetHED_Apache2()
for i, (before, width, layers) in enumerate(((3, 8, 2), (8, 12, 2), (12, 16, 3), (16, 20, 3), (20, 20, 3)), 1):
    setattr(net, f"block{i}", hed.DoubleConvBlock(before, width, layers))
with torch.no_grad():
    net.norm.uniform_(90, 140)
    for parameter in net.parameters():
        if parameter.ndim == 4 and parameter.shape[-1] == 3:
            parameter.mul_(1.6)
    for name, parameter in net.named_parameters():
        if "projection" in name:
            parameter.mul_(0.25)
save(net, "ControlNetHED")
detector = hed.HEDdetector(net.float().eval())
keep("softedge", detector(small, **options)[:, :, 0])
keep("scribble", detector(small, scribble=True, **options)[:, :, 0])

# the line drawing generator, 8 channels wide instead of 64
source = inspect.getsource(lineart.Generator).replace("64", "8")
exec(source, lineart.__dict__)
generator = lineart.Generator(3, 1, 3).eval()
with torch.no_grad():
    generator.model4[1].weight.mul_(5)
save(generator, "sk_model")
keep("lineart", lineart.LineartDetector(generator, generator)(small, **options)[:, :, 0])

# the anime UNet, 2 channels wide instead of 64
norm = functools.partial(torch.nn.InstanceNorm2d, affine=False, track_running_stats=False)
unet = anime.UnetGenerator(3, 1, 8, 2, norm_layer=norm, use_dropout=False).eval()
save(unet, "netG")
large = picture(256, 256)
keep("picture-256", large)
options = {"detect_resolution": 256, "image_resolution": 256, "output_type": "np"}
detector = anime.LineartAnimeDetector(unet)
keep("lineart-anime", detector(large, **options)[:, :, 0])

about = {
    "name": "preprocess-edges",
    "about": "softedge, scribble, lineart, lineart_anime of controlnet_aux, networks of random weights under their published names",
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
