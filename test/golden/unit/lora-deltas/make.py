"""Deltas of every golden LoRA by the formulas of the goldens' own reader (`lora_deltas` in addons.py), in float64.

python make.py GOLDENS   (the folder with make/, models/ and cases/) -> deltas.json beside this file

Per weight: [sum, checksum, element 0, element n/3, element n - 1] of W' - W at weight 1, where
checksum = sum(delta[i] * ((i * 37) % 101 - 50)), so that no two elements can be exchanged unseen.
"""
import glob, importlib.metadata, json, os, sys
import torch
goldens = sys.argv[1]
sys.path.insert(0, os.path.join(goldens, "make"))
from addons import lora_deltas, targets_of
from golden_run import Runner

BASES = {"sd15": "sd15-tiny", "sdxl": "sdxl-tiny"}
NETWORK = {"unet": "unet", "text_encoder": "encoder1", "text_encoder_2": "encoder2"}
runner, out = Runner(goldens), {}
pipes = {key: runner.load(name, torch.float32) for key, name in BASES.items()}


def digest(d):
    d = d.double().flatten()
    w = (torch.arange(d.numel()) * 37) % 101 - 50
    return [float(f"{v:.9g}") for v in (d.sum(), (d * w).sum(), d[0], d[d.numel() // 3], d[-1])]


for folder in sorted(glob.glob(os.path.join(goldens, "models", "lo[rckh]*-sd*")) + glob.glob(os.path.join(goldens, "models", "dora-*"))):
    name = os.path.basename(folder)
    base = "sdxl" if "sdxl" in name else "sd15"
    pipe = pipes[base]
    modules = {(r, n): m for r, n, m in targets_of(pipe, ("attn", "ff", "proj", "time", "conv", "ends", "te"))}
    rows = {}
    for (role, path), f in lora_deltas(runner.file(name), pipe).items():
        prefix = "" if role == "unet" else "text_model."
        rows[f"{NETWORK[role]}/{prefix}{path}.weight"] = digest(f(modules[role, path].weight.detach().double()))
    out[name] = {"model": BASES[base], "deltas": rows}
versions = {p: importlib.metadata.version(p) for p in ("torch", "diffusers", "transformers")}
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "deltas.json"), "w") as h:
    json.dump({"about": __doc__.split("\n")[0], "made_with": versions, "row": ["sum", "checksum", "first", "third", "last"], "files": out}, h,
              separators=(",", ":"))
