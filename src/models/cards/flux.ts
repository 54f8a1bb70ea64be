/** @file FLUX.1, whose identifiers are known although the family does not run here. Data only. */
import type { KnownElsewhere } from './known.js';

const FLUX = { kind: 'elsewhere', what: 'a FLUX.1 model' } as const;
const FLUX_CONTROLNET = { kind: 'elsewhere', what: 'a ControlNet for FLUX.1' } as const;

/** https://runware.ai/docs/en/image-inference/flux-tools and …/models#basic-controlnet-models */
export const FLUX_MODELS = [
  { ...FLUX, air: 'runware:100@1', name: 'FLUX.1 [schnell]' },
  { ...FLUX, air: 'runware:101@1', name: 'FLUX.1 [dev]' },
  { ...FLUX, air: 'runware:102@1', name: 'FLUX.1 Fill' },
  { ...FLUX_CONTROLNET, air: 'runware:25@1', name: 'FLUX.1 canny' },
  { ...FLUX_CONTROLNET, air: 'runware:26@1', name: 'FLUX.1 tile' },
  { ...FLUX_CONTROLNET, air: 'runware:27@1', name: 'FLUX.1 depth' },
  { ...FLUX_CONTROLNET, air: 'runware:28@1', name: 'FLUX.1 blur' },
  { ...FLUX_CONTROLNET, air: 'runware:29@1', name: 'FLUX.1 pose' },
  { ...FLUX_CONTROLNET, air: 'runware:30@1', name: 'FLUX.1 gray' },
  { ...FLUX_CONTROLNET, air: 'runware:31@1', name: 'FLUX.1 low quality' },
] as const satisfies readonly KnownElsewhere[];
