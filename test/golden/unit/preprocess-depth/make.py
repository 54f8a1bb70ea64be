"""Depth by transformers' pipeline with a tiny Depth Anything of random weights: `python make.py`, with the versions that case.json names."""
import json
from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image, ImageDraw
from safetensors.torch import save_file

HERE = Path(__file__).parent
torch.manual_seed(23)

config = transformers.DepthAnythingConfig(
    backbone_config=transformers.Dinov2Config(
        hidden_size=24, num_hidden_layers=4, num_attention_heads=3, image_size=70, patch_size=14,
        out_indices=[1, 2, 3, 4], reshape_hidden_states=False, apply_layernorm=True,
    ),
    reassemble_hidden_size=24, neck_hidden_sizes=[8, 8, 12, 12], fusion_hidden_size=8, head_hidden_size=4, patch_size=14,
)
model = transformers.DepthAnythingForDepthEstimation(config).eval()
with torch.no_grad():
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            parameter.uniform_(0.2, 1.0) if "norm" in name or "lambda" in name else parameter.uniform_(-0.1, 0.1)
        else:
            fan = parameter[0].numel()
            parameter.normal_(0, 0.3 if "embeddings" in name or "token" in name else (1.6 / fan) ** 0.5)
    model.head.conv3.bias.fill_(1.0)
model.save_pretrained(HERE / "model")
processor = transformers.DPTImageProcessorPil(
    size={"height": 70, "width": 70}, keep_aspect_ratio=True, ensure_multiple_of=14, resample=3,
    image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225],
)
processor.save_pretrained(HERE / "model")

canvas = Image.new("RGB", (93, 61), (210, 220, 240))
draw = ImageDraw.Draw(canvas)
draw.ellipse((10, 12, 52, 54), fill=(180, 60, 40))
draw.polygon([(40, 60), (92, 60), (70, 20)], fill=(30, 110, 60))
canvas.save(HERE / "picture.png", optimize=True)

inputs = processor(images=canvas, return_tensors="pt")
with torch.no_grad():
    outputs = model(**inputs)
    positions = model.backbone.embeddings.interpolate_pos_encoding(
        torch.zeros(1, 1 + inputs["pixel_values"].shape[2] * inputs["pixel_values"].shape[3] // 196, 24),
        *inputs["pixel_values"].shape[2:],
    )
depth = processor.post_process_depth_estimation(outputs, [(canvas.height, canvas.width)])[0]["predicted_depth"].numpy()
unit = (depth - depth.min()) / (depth.max() - depth.min())
Image.fromarray((unit * 255).astype("uint8")).save(HERE / "depth.png", optimize=True)
save_file(
    {"pixel_values": inputs["pixel_values"][0].contiguous(), "positions": positions[0].contiguous(), "depth": outputs.predicted_depth[0].contiguous()},
    HERE / "tensors.safetensors",
)
about = {
    "name": "preprocess-depth",
    "about": "pixel_values [3, H, W], depth [H, W] of the network, depth.png as the depth-estimation pipeline of transformers makes it",
    "versions": {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__, "numpy": np.__version__, "pillow": Image.__version__},
    "script": "make.py",
    "shape": list(inputs["pixel_values"].shape),
}
(HERE / "case.json").write_text(json.dumps(about, indent=1) + "\n")
