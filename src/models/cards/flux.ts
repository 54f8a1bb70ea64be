/** @file FLUX.1: the two models that run, and those whose identifiers are known although they do not. Data only. */
import type { KnownCheckpoint, KnownElsewhere } from './known.js';

const ELSEWHERE = { kind: 'elsewhere', what: 'a ControlNet for FLUX.1' } as const;

/** Identifiers: https://runware.ai/docs/en/image-inference/flux-tools and …/models#basic-controlnet-models */
export const FLUX_MODELS = [
  {
    // steps: https://huggingface.co/black-forest-labs/FLUX.1-schnell; distilled without guidance, so CFGScale has no effect
    kind: 'checkpoint',
    air: 'runware:100@1',
    name: 'FLUX.1 [schnell]',
    family: 'flux',
    licence: 'Apache-2.0',
    native: [1024, 1024],
    defaults: { steps: 4, CFGScale: 1 },
    hub: { repo: 'black-forest-labs/FLUX.1-schnell', verified: false },
  },
  {
    // steps and guidance: https://huggingface.co/black-forest-labs/FLUX.1-dev; the repo asks for a login
    kind: 'checkpoint',
    air: 'runware:101@1',
    name: 'FLUX.1 [dev]',
    family: 'flux',
    licence: 'FLUX.1 [dev] Non-Commercial License',
    native: [1024, 1024],
    defaults: { steps: 28, CFGScale: 3.5 },
    hub: { repo: 'black-forest-labs/FLUX.1-dev', verified: false },
  },
  { kind: 'elsewhere', air: 'runware:102@1', name: 'FLUX.1 Fill', what: 'an inpainting model of FLUX.1' },
  { ...ELSEWHERE, air: 'runware:25@1', name: 'FLUX.1 canny' },
  { ...ELSEWHERE, air: 'runware:26@1', name: 'FLUX.1 tile' },
  { ...ELSEWHERE, air: 'runware:27@1', name: 'FLUX.1 depth' },
  { ...ELSEWHERE, air: 'runware:28@1', name: 'FLUX.1 blur' },
  { ...ELSEWHERE, air: 'runware:29@1', name: 'FLUX.1 pose' },
  { ...ELSEWHERE, air: 'runware:30@1', name: 'FLUX.1 gray' },
  { ...ELSEWHERE, air: 'runware:31@1', name: 'FLUX.1 low quality' },
] as const satisfies readonly (KnownCheckpoint | KnownElsewhere)[];
