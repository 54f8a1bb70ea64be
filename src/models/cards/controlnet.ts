/** @file The basic ControlNets of https://runware.ai/docs/en/image-inference/models#basic-controlnet-models. Data only. */
import type { KnownControlNet } from './known.js';

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
] as const satisfies readonly KnownControlNet[];
