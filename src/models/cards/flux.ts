/** @file FLUX.1: the two models that run, and one whose identifier is known although it does not; its ControlNets are elsewhere. Data only. */
import type { KnownCheckpoint, KnownElsewhere } from './known.js';

/** Identifiers: https://runware.ai/docs/en/image-inference/flux-tools */
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
] as const satisfies readonly (KnownCheckpoint | KnownElsewhere)[];
