/** @file Stable Diffusion 1.x and 2.x checkpoints. Data only. */
import type { KnownCheckpoint } from './known.js';

export const STABLE_DIFFUSION = [
  {
    // The example of https://runware.ai/docs/en/image-inference/text-to-image, which calls it v1; the id is version 8's.
    kind: 'checkpoint',
    air: 'civitai:4384@128713',
    name: 'DreamShaper 8',
    family: 'sd1',
    licence: 'CreativeML Open RAIL-M',
    native: [512, 512],
    hub: { repo: 'Lykon/dreamshaper-8', verified: false },
  },
  {
    // config: https://huggingface.co/stable-diffusion-v1-5/stable-diffusion-v1-5, a copy of runwayml/stable-diffusion-v1-5
    kind: 'checkpoint',
    air: 'huggingface:stable-diffusion-v1-5/stable-diffusion-v1-5',
    name: 'Stable Diffusion 1.5',
    family: 'sd1',
    licence: 'CreativeML Open RAIL-M',
    native: [512, 512],
    hub: { repo: 'stable-diffusion-v1-5/stable-diffusion-v1-5', verified: false },
  },
  {
    // https://huggingface.co/stabilityai/stable-diffusion-2-1: 768 pixels, v-prediction
    kind: 'checkpoint',
    air: 'huggingface:stabilityai/stable-diffusion-2-1',
    name: 'Stable Diffusion 2.1',
    family: 'sd2',
    licence: 'CreativeML Open RAIL++-M',
    native: [768, 768],
    prediction: 'v_prediction',
    hub: { repo: 'stabilityai/stable-diffusion-2-1', verified: false },
  },
  {
    // https://huggingface.co/stabilityai/stable-diffusion-2-1-base: 512 pixels, epsilon
    kind: 'checkpoint',
    air: 'huggingface:stabilityai/stable-diffusion-2-1-base',
    name: 'Stable Diffusion 2.1 base',
    family: 'sd2',
    licence: 'CreativeML Open RAIL++-M',
    native: [512, 512],
    hub: { repo: 'stabilityai/stable-diffusion-2-1-base', verified: false },
  },
] as const satisfies readonly KnownCheckpoint[];
