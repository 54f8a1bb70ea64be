/** @file Stable Diffusion XL checkpoints and the refiner. Data only. */
import type { KnownCheckpoint } from './known.js';

export const SDXL = [
  {
    kind: 'checkpoint',
    air: 'civitai:101055@128078',
    name: 'SDXL 1.0 base',
    family: 'sdxl',
    licence: 'CreativeML Open RAIL++-M',
    native: [1024, 1024],
    hub: { repo: 'stabilityai/stable-diffusion-xl-base-1.0', verified: false },
  },
  {
    // "official refiner" of https://runware.ai/docs/en/image-inference/text-to-image#refiner-two-stage-generation
    kind: 'checkpoint',
    air: 'civitai:101055@128080',
    name: 'SDXL 1.0 refiner',
    family: 'sdxl-refiner',
    licence: 'CreativeML Open RAIL++-M',
    native: [1024, 1024],
    hub: { repo: 'stabilityai/stable-diffusion-xl-refiner-1.0', verified: false },
  },
  {
    kind: 'checkpoint',
    air: 'civitai:133005@782002',
    name: 'Juggernaut XL XI',
    family: 'sdxl',
    licence: 'CreativeML Open RAIL-M',
    native: [1024, 1024],
    hub: { repo: 'RunDiffusion/Juggernaut-XI-v11', verified: false },
  },
  {
    // An example of https://runware.ai/docs/en/image-inference/api-reference. Which of the SG161222/RealVisXL_* repos has this version is not known.
    kind: 'checkpoint',
    air: 'civitai:139562@297320',
    name: 'RealVisXL',
    family: 'sdxl',
    licence: 'CreativeML Open RAIL++-M',
    native: [1024, 1024],
  },
] as const satisfies readonly KnownCheckpoint[];
