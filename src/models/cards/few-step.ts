/** @file Checkpoints distilled to few steps; `distillations.ts` says what each kind asks for. Data only. */
import type { KnownCheckpoint } from './known.js';

export const FEW_STEP = [
  {
    // config: https://huggingface.co/SimianLuo/LCM_Dreamshaper_v7. CFGScale is the guidance that its UNet is told of (time_cond_proj_dim).
    kind: 'checkpoint',
    air: 'huggingface:SimianLuo/LCM_Dreamshaper_v7',
    name: 'LCM DreamShaper 7',
    family: 'sd1',
    licence: 'MIT',
    native: [768, 768],
    distillation: 'lcm',
    defaults: { CFGScale: 8 },
    hub: { repo: 'SimianLuo/LCM_Dreamshaper_v7', verified: false },
  },
  {
    kind: 'checkpoint',
    air: 'huggingface:stabilityai/sd-turbo',
    name: 'SD Turbo',
    family: 'sd2',
    licence: 'Stability AI Community License',
    native: [512, 512],
    distillation: 'turbo',
    hub: { repo: 'stabilityai/sd-turbo', verified: false },
  },
  {
    kind: 'checkpoint',
    air: 'huggingface:stabilityai/sdxl-turbo',
    name: 'SDXL Turbo',
    family: 'sdxl',
    licence: 'Stability AI Non-Commercial Research Community License',
    native: [512, 512],
    distillation: 'turbo',
    hub: { repo: 'stabilityai/sdxl-turbo', verified: false },
  },
  {
    // The repo has one whole checkpoint per number of steps; this is the one its page shows.
    kind: 'checkpoint',
    air: 'huggingface:ByteDance/SDXL-Lightning',
    name: 'SDXL Lightning, 4 steps',
    family: 'sdxl',
    licence: 'CreativeML Open RAIL++-M',
    native: [1024, 1024],
    distillation: 'lightning',
    hub: { repo: 'ByteDance/SDXL-Lightning', file: 'sdxl_lightning_4step.safetensors', verified: false },
  },
] as const satisfies readonly KnownCheckpoint[];
