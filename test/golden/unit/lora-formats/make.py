"""Small LoRA files written by the training libraries themselves (LyCORIS, peft, diffusers), and the weights that these libraries merge.

python make.py GOLDENS   (the folder with models/sd15-tiny) -> *.safetensors, peft/, merged.json beside this file

Per weight of merged.json: [sum, checksum, element 0, element n/3, element n - 1] of W' - W, as in ../lora-deltas/make.py.
Factors are drawn anew (most start as zeros), with the seed below.
"""
import copy, importlib.metadata, json, os, shutil, sys
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from lycoris.modules.full import FullModule
from lycoris.modules.locon import LoConModule
from lycoris.modules.loha import LohaModule
from lycoris.modules.lokr import LokrModule
from lycoris.modules.norms import NormModule
from peft import LoraConfig, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
UNET = os.path.join(sys.argv[1], "models", "sd15-tiny", "unet")
torch.manual_seed(20)
torch.set_num_threads(1)
CONV, POINT = "down_blocks.0.resnets.1.conv1", "down_blocks.1.attentions.0.proj_in"
ATTN, FF = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k", "down_blocks.0.attentions.1.transformer_blocks.0.ff.net.0.proj"
NORM, DOWN = "up_blocks.1.resnets.0.norm2", "down_blocks.0.downsamplers.0.conv"
base = UNet2DConditionModel.from_pretrained(UNET)
out = {}


def digest(d):
    d = d.detach().double().flatten()
    w = (torch.arange(d.numel()) * 37) % 101 - 50
    return [float(f"{v:.9g}") for v in (d.sum(), (d * w).sum(), d[0], d[d.numel() // 3], d[-1])]


def draw(parameters):
    with torch.no_grad():
        for p in parameters:
            p.copy_(torch.randn(p.shape) * 0.3)


INPUT = {torch.nn.Linear: lambda m: (m.in_features,), torch.nn.Conv2d: lambda m: (m.in_channels, 8, 8),
         torch.nn.GroupNorm: lambda m: (m.num_channels, 8, 8)}


def merged(module, before):
    """What the layer's weights become. (`get_merged_weight` of LoHa and LoKr in 4.1.3 scales by alpha / rank twice; `get_weight` is what runs.)"""
    shape = before["weight"].shape
    if isinstance(module, (LohaModule, LokrModule)):
        weight = before["weight"] + module.get_weight(shape)
        return {"weight": module.apply_weight_decompose(weight) if module.wd else weight}
    weight, bias = module.get_merged_weight(1, shape=shape)
    return {"weight": weight, **({} if bias is None else {"bias": bias})}


def lycoris(name, cls, layers, prefix="lora_unet_", **options):
    unet = copy.deepcopy(base).double()
    state, rows = {}, {}
    for path in layers:
        address, layer = prefix + path.replace(".", "_"), unet.get_submodule(path)
        before = {k: v.detach().clone() for k, v in layer.state_dict().items()}
        plain = copy.deepcopy(layer)
        module = cls(address, layer, **options).double()
        scale = module.dora_scale.detach().clone() if getattr(module, "wd", False) else None
        module.apply_to()
        draw(module.parameters())
        if cls is FullModule:                         # it holds the changed weights themselves
            for key, p in module.named_parameters():
                p.data += before[key]
        if scale is not None:
            module.dora_scale.data = scale.double() * (1 + 0.2 * torch.rand(scale.shape))
        module.float().double()                       # the file holds float32
        for key, value in module.state_dict().items():
            state[f"{address}.{key}"] = value.detach().float().contiguous()
        after = merged(module, before)
        rows.update({f"{path}.{k}": digest(v - before[k]) for k, v in after.items()})
        # the library's own forward pass has the last word
        x = torch.randn(2, *INPUT[type(plain)](plain)).double()
        got = layer(x)
        plain.load_state_dict({**before, **after})
        assert (got - plain(x)).abs().max() <= 1e-6 * got.abs().max(), (name, path)
    save_file(state, os.path.join(HERE, f"{name}.safetensors"), metadata={"format": "pt"})
    out[name] = rows


def adapted(config, unet):
    """Draws the factors, and the weights that peft merges."""
    rows = {}
    for path, module in unet.named_modules():
        if not isinstance(module, BaseTunerLayer) or not hasattr(module, "lora_A"):
            continue
        for side in (module.lora_A, module.lora_B):
            draw(side["default"].parameters())
        for magnitude in module.lora_magnitude_vector.values():
            with torch.no_grad():
                magnitude.weight.mul_(1 + 0.2 * torch.rand(magnitude.weight.shape))
        for side in (module.lora_A, module.lora_B, module.lora_magnitude_vector):
            side.float().double()
    saved = copy.deepcopy(unet)
    for path, module in unet.named_modules():
        if isinstance(module, BaseTunerLayer) and hasattr(module, "lora_A"):
            before = module.get_base_layer().weight.detach().clone()
            module.merge()
            rows[path.removeprefix("base_model.model.") + ".weight"] = digest(module.get_base_layer().weight - before)
    return saved, rows


def diffusers_file(name, **options):
    """As a diffusers training script saves it, with peft's configuration in the header."""
    unet = copy.deepcopy(base).double()
    config = LoraConfig(init_lora_weights=True, **options)
    unet.add_adapter(config, adapter_name="default")
    saved, rows = adapted(config, unet)
    state = {k: v.float() for k, v in get_peft_model_state_dict(saved).items()}
    folder = os.path.join(HERE, "tmp")
    StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=state, unet_lora_adapter_metadata=config.to_dict())
    shutil.move(os.path.join(folder, "pytorch_lora_weights.safetensors"), os.path.join(HERE, f"{name}.safetensors"))
    shutil.rmtree(folder)
    out[name] = rows


def peft_folder(name, **options):
    """As peft saves a wrapped model: the configuration is a file of its own."""
    model = get_peft_model(copy.deepcopy(base).double(), LoraConfig(**options))
    saved, rows = adapted(None, model)
    saved.float().save_pretrained(os.path.join(HERE, name))
    os.remove(os.path.join(HERE, name, "README.md"))
    path = os.path.join(HERE, name, "adapter_config.json")
    with open(path) as h:
        config = dict(json.load(h), base_model_name_or_path="sd15-tiny/unet")     # not where it lay when this was made
    with open(path, "w") as h:
        json.dump(config, h, indent=2)
    out[name] = rows


lycoris("lycoris-locon", LoConModule, [CONV, POINT, ATTN, DOWN], lora_dim=3, alpha=2)
lycoris("lycoris-locon-tucker", LoConModule, [CONV, POINT, ATTN, DOWN], lora_dim=3, alpha=2, use_tucker=True)
lycoris("lycoris-locon-wrapper", LoConModule, [CONV, ATTN], prefix="lycoris_", lora_dim=2, alpha=1)
lycoris("lycoris-rslora", LoConModule, [ATTN, FF], lora_dim=4, alpha=3, rs_lora=True)
lycoris("lycoris-loha", LohaModule, [CONV, POINT, ATTN], lora_dim=3, alpha=2)
lycoris("lycoris-loha-tucker", LohaModule, [CONV, DOWN], lora_dim=3, alpha=2, use_tucker=True)
lycoris("lycoris-lokr", LokrModule, [CONV, ATTN, FF], lora_dim=2, alpha=1, factor=2)
lycoris("lycoris-lokr-both", LokrModule, [CONV, FF], lora_dim=1, alpha=3, factor=4, decompose_both=True)
lycoris("lycoris-lokr-full", LokrModule, [CONV, ATTN], lora_dim=2, alpha=1, factor=4, full_matrix=True)
lycoris("lycoris-lokr-tucker", LokrModule, [CONV, DOWN], lora_dim=2, alpha=1, factor=2, use_tucker=True)
lycoris("lycoris-full", FullModule, [POINT, ATTN, FF])
lycoris("lycoris-norm", NormModule, [NORM])
lycoris("lycoris-dora", LoConModule, [CONV, ATTN], lora_dim=3, alpha=2, weight_decompose=True, wd_on_out=True)
lycoris("lycoris-dora-loha", LohaModule, [CONV, ATTN], lora_dim=3, alpha=2, weight_decompose=True, wd_on_out=True)
lycoris("lycoris-dora-inputs", LoConModule, [CONV, ATTN], lora_dim=3, alpha=2, weight_decompose=True, wd_on_out=False)
FEW = dict(target_modules=[CONV, POINT, ATTN, FF])
diffusers_file("diffusers-patterns", r=2, lora_alpha=3, alpha_pattern={ATTN: 5.5, "ff.net.0.proj": 1}, rank_pattern={ATTN: 4}, **FEW)
diffusers_file("diffusers-rslora", r=4, lora_alpha=3, use_rslora=True, **FEW)
diffusers_file("diffusers-dora", r=2, lora_alpha=3, use_dora=True, **FEW)
peft_folder("peft", r=2, lora_alpha=7, **FEW)
versions = {p: importlib.metadata.version(p) for p in ("torch", "diffusers", "peft", "lycoris-lora")}
with open(os.path.join(HERE, "merged.json"), "w") as h:
    json.dump({"about": __doc__.split("\n")[0], "made_with": versions, "model": "sd15-tiny",
               "row": ["sum", "checksum", "first", "third", "last"], "files": out}, h, indent=1)
