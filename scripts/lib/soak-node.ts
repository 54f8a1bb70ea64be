/** @file The soak in this process, on the CPU: its models, and what Node says of memory and of what is open. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { createNodeEngine } from './node-engine.js';
import { SOAK_GUIDE, SOAK_MODELS } from './soak-plan.js';
import { soakPictures, type Measured, type SoakOptions, type SoakResult } from './soak-pictures.js';

export const GOLDEN = join(import.meta.dirname, '../../test/golden');

/** Bytes that the heap may rise over a whole soak: compiled code and inline caches settle late. */
const ALLOWED = { heapBytes: 3e6, outsideBytes: 1e6 } as const;

export async function soakInNode(options: Pick<SoakOptions, 'pictures' | 'seed' | 'onPicture'>): Promise<SoakResult> {
  const paths = Object.entries(SOAK_MODELS).map(([name, path]) => [name, join(GOLDEN, path)] as const);
  const engine = createNodeEngine({ models: Object.fromEntries(paths) });
  try {
    return await soakPictures({ ...options, engine, guide: soakGuide(), measure: measurer(), allowed: ALLOWED });
  } finally {
    await engine.dispose();
  }
}

export function soakGuide(): string {
  return `data:image/png;base64,${readFileSync(join(GOLDEN, SOAK_GUIDE)).toString('base64')}`;
}

function measurer(): () => Promise<Measured> {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  return async () => {
    // Twice, with a turn between: what finalizers release is garbage only then.
    for (let i = 0; i < 2; i++) {
      if (typeof collect === 'function') Reflect.apply(collect, undefined, []);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const { heapUsed, external } = process.memoryUsage();
    return {
      heapBytes: heapUsed,
      outsideBytes: external,
      handles: process.getActiveResourcesInfo().length,
      ...openFiles(),
    };
  };
}

/** Where the system tells. */
function openFiles(): Measured {
  try {
    return { files: readdirSync('/proc/self/fd').length };
  } catch {
    return {};
  }
}
