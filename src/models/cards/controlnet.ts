/** @file The basic ControlNets of https://runware.ai/docs/en/image-inference/models#basic-controlnet-models. Data only. */
import type { KnownControlNet } from './known.js';

const FLUX_LICENCE = 'FLUX.1 [dev] Non-Commercial License';

/** InstantX' net for FLUX.1-dev, which tells kinds of guides apart. */
const FLUX_UNION = {
  kind: 'controlnet',
  family: 'flux',
  licence: FLUX_LICENCE,
  hub: { repo: 'InstantX/FLUX.1-dev-Controlnet-Union', verified: false },
} as const;

export const CONTROLNETS = [
  {
    kind: 'controlnet',
    air: 'civitai:38784@44716',
    name: 'ControlNet 1.1 canny, SD 1.5',
    family: 'sd1',
    conditioning: 'canny',
    licence: 'CreativeML Open RAIL-M',
    hub: { repo: 'lllyasviel/control_v11p_sd15_canny', verified: false },
  },
  {
    kind: 'controlnet',
    air: 'civitai:38784@44876',
    name: 'ControlNet 1.1 inpaint, SD 1.5',
    family: 'sd1',
    conditioning: 'inpaint',
    licence: 'CreativeML Open RAIL-M',
    hub: { repo: 'lllyasviel/control_v11p_sd15_inpaint', verified: false },
  },
  {
    kind: 'controlnet',
    air: 'civitai:38784@44877',
    name: 'ControlNet 1.1 lineart, SD 1.5',
    family: 'sd1',
    conditioning: 'lineart',
    licence: 'CreativeML Open RAIL-M',
    hub: { repo: 'lllyasviel/control_v11p_sd15_lineart', verified: false },
  },
  {
    kind: 'controlnet',
    air: 'civitai:38784@44795',
    name: 'ControlNet 1.1 MLSD, SD 1.5',
    family: 'sd1',
    conditioning: 'mlsd',
    licence: 'CreativeML Open RAIL-M',
    hub: { repo: 'lllyasviel/control_v11p_sd15_mlsd', verified: false },
  },
  {
    kind: 'controlnet',
    air: 'civitai:38784@44774',
    name: 'ControlNet 1.1 normal map, SD 1.5',
    family: 'sd1',
    conditioning: 'normalbae',
    licence: 'CreativeML Open RAIL-M',
    hub: { repo: 'lllyasviel/control_v11p_sd15_normalbae', verified: false },
  },
  {
    kind: 'controlnet',
    air: 'runware:20@1',
    name: 'ControlNet canny, SDXL',
    family: 'sdxl',
    conditioning: 'canny',
    licence: 'CreativeML Open RAIL++-M',
    hub: { repo: 'diffusers/controlnet-canny-sdxl-1.0', verified: false },
  },
  {
    // By its repo, all kinds: the request says which.
    ...FLUX_UNION,
    air: 'huggingface:InstantX/FLUX.1-dev-Controlnet-Union',
    name: 'FLUX.1 ControlNet Union',
    conditioning: 'union',
  },
  // The cloud has an identifier for each kind.
  { ...FLUX_UNION, air: 'runware:25@1', name: 'FLUX.1 ControlNet Union, canny', conditioning: 'canny', unionMode: 'canny' },
  { ...FLUX_UNION, air: 'runware:26@1', name: 'FLUX.1 ControlNet Union, tile', conditioning: 'tile', unionMode: 'tile' },
  { ...FLUX_UNION, air: 'runware:27@1', name: 'FLUX.1 ControlNet Union, depth', conditioning: 'depth', unionMode: 'depth' },
  { ...FLUX_UNION, air: 'runware:28@1', name: 'FLUX.1 ControlNet Union, blur', conditioning: 'blur', unionMode: 'blur' },
  { ...FLUX_UNION, air: 'runware:29@1', name: 'FLUX.1 ControlNet Union, pose', conditioning: 'pose', unionMode: 'pose' },
  { ...FLUX_UNION, air: 'runware:30@1', name: 'FLUX.1 ControlNet Union, gray', conditioning: 'gray', unionMode: 'gray' },
  { ...FLUX_UNION, air: 'runware:31@1', name: 'FLUX.1 ControlNet Union, lq', conditioning: 'lq', unionMode: 'lq' },
  {
    // Without modes: it takes canny, soft edges, depth, poses and gray as they come.
    kind: 'controlnet',
    air: 'huggingface:Shakker-Labs/FLUX.1-dev-ControlNet-Union-Pro-2.0',
    name: 'FLUX.1 ControlNet Union Pro 2.0',
    family: 'flux',
    conditioning: 'union',
    licence: FLUX_LICENCE,
    hub: { repo: 'Shakker-Labs/FLUX.1-dev-ControlNet-Union-Pro-2.0', verified: false },
  },
] as const satisfies readonly KnownControlNet[];
