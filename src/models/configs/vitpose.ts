/** @file `config.json` of a ViTPose model, as transformers writes it. Data and its parser. */
import { fail } from '../../base/errors.js';
import { fields } from '../../base/fields.js';
import { parseVitConfig, type VitConfig } from './vit.js';

/** Defaults are those of transformers' `VitPoseConfig` and `VitPoseBackboneConfig`. */
export interface VitPoseConfig {
  readonly backbone: VitConfig;
  /** The heatmaps' size, in grids of patches. */
  readonly scaleFactor: number;
}

/** @throws invalidModelConfig, unsupportedModel */
export function parseVitPoseConfig(json: unknown, where = 'config.json'): VitPoseConfig {
  const f = fields(json, where);
  const kind = f.text('model_type', 'vitpose');
  if (kind !== 'vitpose') {
    throw fail('unsupportedModel', `${where}: a ${kind} model is not supported for poses; expected vitpose.`);
  }
  f.only('use_simple_decoder', [true], 'the classic decoder (use one of the "simple" models)');
  const b = fields(f.raw('backbone_config'), `${where}: "backbone_config"`);
  b.only('num_experts', [1], 'a mixture of experts (ViTPose++)');
  const backbone = parseVitConfig(b, { eps: 1e-12, patchSize: 16, image: [256, 192] });
  if (b.has('out_indices')) {
    const [last, ...more] = b.list('out_indices', (value) => value);
    if (last !== backbone.layers || more.length > 0) throw b.error('out_indices', `the last layer, [${backbone.layers}]`);
  }
  return { backbone, scaleFactor: f.integer('scale_factor', 4, { max: 16 }) };
}
