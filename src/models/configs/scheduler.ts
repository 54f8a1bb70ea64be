/** @file `scheduler/scheduler_config.json`, as diffusers writes it: kept as it is, since every scheduler class reads its own keys. */
import { fields } from '../../base/fields.js';

export type RawSchedulerConfig = Readonly<Record<string, unknown>>;

/** @throws invalidModelConfig when it is not an object with a class name */
export function parseSchedulerConfig(json: unknown, where = 'scheduler/scheduler_config.json'): RawSchedulerConfig {
  fields(json, where).text('_class_name');
  return Object.fromEntries(Object.entries(typeof json === 'object' ? (json ?? {}) : {}));
}
