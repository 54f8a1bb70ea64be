"""
A person's joints by transformers with a tiny ViTPose of random weights and 133 joints, drawn by the DWPose detector of controlnet_aux:
`python make.py PATH-OF-controlnet_aux`, with the versions that case.json names. Writes beside itself.
"""
import importlib.util
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
import transformers
from PIL import Image, ImageDraw
from safetensors.torch import save_file

HERE = Path(__file__).parent
spec = importlib.util.spec_from_file_location("dwpose_util", Path(sys.argv[1]) / "dwpose/util.py")
util = importlib.util.module_from_spec(spec)
spec.loader.exec_module(util)
torch.manual_seed(24)
rng = np.random.Generator(np.random.PCG64(24))


def keep(name, array):
    Image.fromarray(array).save(HERE / f"{name}.png", optimize=True)


def draw(people, height, width):
    """The steps of DWposeDetector.__call__ after the network: people [n, 133, 3] in pixels, with scores."""
    info = people.astype(np.float64)
    neck = np.mean(info[:, [5, 6]], axis=1)
    neck[:, 2] = np.logical_and(info[:, 5, 2] > 0.3, info[:, 6, 2] > 0.3)
    info = np.insert(info, 17, neck, axis=1)
    order = [17, 6, 8, 10, 7, 9, 12, 14, 16, 13, 15, 2, 1, 4, 3]
    info[:, [1, 2, 3, 4, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 17]] = info[:, order]
    candidate, score = info[..., :2].copy(), info[..., 2].copy()
    candidate[..., 0] /= float(width)
    candidate[..., 1] /= float(height)
    body = candidate[:, :18].reshape(-1, 2).copy()
    subset = np.where(score[:, :18] > 0.3, np.arange(len(info) * 18).reshape(-1, 18), -1)
    candidate[score < 0.3] = -1
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas = util.draw_bodypose(canvas, body, subset)
    body_only = canvas.copy()
    canvas = util.draw_handpose(canvas, np.vstack([candidate[:, 92:113], candidate[:, 113:]]))
    hands = canvas.copy()
    return body_only, hands, util.draw_facepose(canvas, candidate[:, 24:92])


# two people, drawn
base = np.zeros((133, 3))
base[:17] = np.array([
    (100, 40, 1), (106, 34, 1), (94, 34, 1), (113, 38, 1), (87, 38, 1), (125, 72, 1), (76, 74, 1), (140, 110, 1), (60, 108, 1),
    (132, 148, 1), (66, 146, 1), (116, 150, 1), (86, 151, 1), (118, 200, 1), (80, 198, 1), (121, 246, 1), (76, 244, 1)])
angle = np.linspace(0.1, np.pi - 0.1, 68)
base[23:91] = np.stack([100 + 15 * np.cos(angle), 38 + 15 * np.sin(angle), np.ones(68)], -1)
for start, (x, y), sign in ((91, (132, 148), 1), (112, (66, 146), -1)):
    base[start] = (x, y, 1)
    for finger in range(5):
        for bone in range(4):
            base[start + 1 + 4 * finger + bone] = (x + sign * (4 + 6 * bone) * np.cos(0.5 * finger - 0.6), y + (4 + 6 * bone) * np.sin(0.5 * finger - 0.6), 1)
second = base * (0.9, 0.9, 1) + (128, 22, 0) + rng.normal(0, 2, (133, 3)) * (1, 1, 0)
second[[9, 4, 100, 40], 2] = 0.1
people = np.stack([base + (0.4, 0.3, 0), second])
body, hands, whole = draw(people, 272, 288)
keep("body", body), keep("hands", hands), keep("whole", whole)

# the network
config = transformers.VitPoseConfig(
    backbone_config=transformers.VitPoseBackboneConfig(
        image_size=[64, 48], patch_size=[16, 16], hidden_size=24, num_hidden_layers=3, num_attention_heads=3, out_indices=[3]),
    num_labels=133, scale_factor=4, use_simple_decoder=True)
model = transformers.VitPoseForPoseEstimation(config).eval()
with torch.no_grad():
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            parameter.uniform_(0.3, 1.0) if "norm" in name else parameter.uniform_(-0.1, 0.1)
        else:
            fan = parameter[0].numel()
            parameter.normal_(0, 0.5 if "position" in name else (1.6 / fan) ** 0.5)
    smooth = torch.tensor([1.0, 2.0, 1.0])
    model.head.conv.weight.copy_(torch.randn(133, 24, 1, 1) * torch.outer(smooth, smooth) / 16 * 0.22)
    model.head.conv.bias.uniform_(-0.25, 0.2)
model.save_pretrained(HERE / "model")
save_file({"head.conv.bias": torch.zeros(17)}, HERE / "body-only.safetensors")

canvas = Image.new("RGB", (90, 101), (190, 200, 180))
pen = ImageDraw.Draw(canvas)
pen.ellipse((34, 6, 56, 30), fill=(220, 170, 140))
pen.rectangle((30, 30, 60, 64), fill=(40, 60, 150))
pen.rectangle((34, 64, 42, 99), fill=(60, 40, 30)), pen.rectangle((48, 64, 56, 99), fill=(60, 40, 30))
canvas.save(HERE / "picture.png", optimize=True)

processor = transformers.VitPoseImageProcessorPil(size={"height": 64, "width": 48})
boxes = [[[0.0, 0.0, 90.0, 101.0]]]
inputs = processor(canvas, boxes=boxes, return_tensors="pt")
with torch.no_grad():
    outputs = model(**inputs)
pose = processor.post_process_pose_estimation(outputs, boxes=boxes)[0][0]
found = torch.cat([pose["keypoints"], pose["scores"][:, None]], 1).double().numpy()
body, _, whole = draw(found[None], 101, 90)
keep("found-body", body), keep("found-whole", whole)
save_file(
    {"people": torch.from_numpy(people), "pixel_values": inputs["pixel_values"][0].contiguous(), "heatmaps": outputs.heatmaps[0].contiguous(),
     "found": torch.from_numpy(found)}, HERE / "tensors.safetensors")
print("scores above 0.3:", (found[:, 2] > 0.3).sum(), "spread", found[:, :2].min(0), found[:, :2].max(0))
about = {
    "name": "preprocess-pose",
    "about": "people [2, 133, 3] (x, y, score) drawn; pixel_values, heatmaps [133, 16, 12] and joints found in the picture, drawn",
    "versions": {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__, "controlnet_aux": "0.0.10",
                 "opencv-python-headless": cv2.__version__, "numpy": np.__version__, "pillow": Image.__version__},
    "script": "make.py",
}
(HERE / "case.json").write_text(json.dumps(about, indent=1) + "\n")
