/** @file Ways in which models were taught to need few steps, and what each way asks of the sampler. Data only. */
import type { ModelDefaults } from './card.js';
import type { RawSchedulerConfig } from './configs/scheduler.js';

interface FewSteps {
  readonly defaults: ModelDefaults;
  /** Replaces these keys of the model's `scheduler_config.json`, so that `Default` is the sampler it was distilled for. */
  readonly scheduler: RawSchedulerConfig;
}

/** Guidance is distilled into the weights, so CFG is off (0 or 1) but where a UNet takes it as an input. */
export const DISTILLATIONS = {
  /**
   * https://huggingface.co/blog/lcm_lora: 2–8 steps, guidance 1; Luo et al. 2023, arXiv 2310.04378. No CFG here: whole LCMs take
   * guidance (8) as an input, those made with a LoRA do not, and only the UNet's config tells (see the plan).
   */
  lcm: { defaults: { steps: 4 }, scheduler: { _class_name: 'LCMScheduler' } },
  /** https://huggingface.co/stabilityai/sdxl-turbo: 1–4 steps, guidance 0, and its scheduler_config.json; arXiv 2311.17042. */
  turbo: {
    defaults: { steps: 1, CFGScale: 0 },
    scheduler: { _class_name: 'EulerAncestralDiscreteScheduler', timestep_spacing: 'trailing' },
  },
  /** https://huggingface.co/ByteDance/SDXL-Lightning: as many steps as the file is named for, guidance 0; arXiv 2402.13929. */
  lightning: {
    defaults: { steps: 4, CFGScale: 0 },
    scheduler: { _class_name: 'EulerDiscreteScheduler', timestep_spacing: 'trailing' },
  },
  /** https://huggingface.co/ByteDance/Hyper-SD: 2, 4 or 8 steps as the file is named, guidance 0; arXiv 2404.13686. */
  hyper: {
    defaults: { steps: 8, CFGScale: 0 },
    scheduler: { _class_name: 'DDIMScheduler', timestep_spacing: 'trailing' },
  },
  /** https://huggingface.co/h1t/TCD-SDXL-LoRA: 4 steps and more, guidance 0; Zheng et al. 2024, arXiv 2402.19159. */
  tcd: { defaults: { steps: 4, CFGScale: 0 }, scheduler: { _class_name: 'TCDScheduler' } },
} as const satisfies Readonly<Record<string, FewSteps>>;

export type Distillation = keyof typeof DISTILLATIONS;
export const DISTILLATION_NAMES = ['lcm', 'turbo', 'lightning', 'hyper', 'tcd'] as const satisfies readonly Distillation[];
