/** @file The models that were opened on this page, by what they are for. Each kind has a list of suggestions for the fields that name one. */
import type { Darkroom, DarkroomOptions } from '../src/index.js';
import { find, make } from './dom.js';
import type { Source } from './open-files.js';

/** What may be said of a model beside its name and its files. */
export type SaidOfModel = Omit<
  Extract<NonNullable<DarkroomOptions['models']>[string], { readonly source: unknown }>,
  'source'
>;

/** `unknown`: opened as a model, but there is none in it. */
export type Kind = 'model' | 'unknown' | 'refiner' | 'vae' | 'parts' | 'lora' | 'embeddings' | 'controlNet';

/** What a file is registered as: where it was opened says it. A model may be anything that has a model in it. */
const CATEGORIES = {
  model: undefined,
  unknown: undefined,
  refiner: 'checkpoint',
  vae: 'vae',
  parts: undefined,
  lora: 'lora',
  embeddings: 'embeddings',
  controlNet: 'controlnet',
} as const satisfies Record<Kind, string | undefined>;

/** The suggestions that a kind is among. A model has a VAE, and can refine. */
const LISTS = {
  model: ['open-refiners', 'open-vaes', 'open-parts'],
  unknown: ['open-refiners', 'open-vaes', 'open-lora', 'open-embeddings', 'open-controlNet'],
  refiner: ['open-refiners'],
  vae: ['open-vaes'],
  parts: ['open-parts'],
  lora: ['open-lora'],
  embeddings: ['open-embeddings'],
  controlNet: ['open-controlNet'],
} as const satisfies Record<Kind, readonly string[]>;

export interface Shelf {
  /**
   * Registers what was picked or an address. Resolves to the name that requests use: the one given, or with a number where another file
   * is open under it.
   */
  open(kind: Kind, name: string, source: Source): Promise<string>;
  /** The same for a model. Rejects where files have none in them; the other fields then suggest them. */
  openModel(name: string, source: Source, details: SaidOfModel): Promise<string>;
  /** Registers under this name, whatever was there before. */
  replace(name: string, source: Source): Promise<void>;
  /** Makes a name a suggestion. */
  list(kind: Kind, name: string, label?: string): void;
  /** In any capitals. */
  has(name: string): boolean;
}

export function createShelf(darkroom: Darkroom): Shelf {
  const opened = new Map<string, { readonly kind: Kind; readonly source: Source }>();
  const listed = new Set<string>();

  async function nameFor(kind: Kind, name: string, source: Source): Promise<string> {
    for (let copy = 1; ; copy++) {
      const candidate = copy === 1 ? name : numbered(name, copy);
      const before = opened.get(candidate);
      if (before === undefined || (before.kind === kind && (await isSame(before.source, source)))) return candidate;
    }
  }

  function list(kind: Kind, name: string, label = name): void {
    listed.add(name.toLowerCase());
    for (const id of LISTS[kind]) {
      const suggestions = find(id, HTMLDataListElement);
      if ([...suggestions.options].some(({ value }) => value === name)) continue;
      suggestions.append(make('option', { value: name, label }));
    }
  }

  async function register(kind: Kind, name: string, source: Source, details: SaidOfModel = {}): Promise<string> {
    const air = await nameFor(kind, name, source);
    const category = CATEGORIES[kind];
    await darkroom.registerModel({ ...details, air, source, ...(category === undefined ? {} : { category }) });
    opened.set(air, { kind, source });
    return air;
  }

  return {
    async open(kind, name, source) {
      const air = await register(kind, name, source);
      list(kind, air);
      return air;
    },
    async openModel(name, source, details) {
      const air = await register('model', name, source, details);
      try {
        if (typeof source !== 'string') await darkroom.willItFit({ positivePrompt: 'any', model: air }); // reads headers only
      } catch (error) {
        list('unknown', air);
        throw error;
      }
      list('model', air);
      return air;
    },
    replace: (name, source) => darkroom.registerModel(name, source),
    list,
    has: (name) => listed.has(name.toLowerCase()),
  };
}

/** `diffusion_pytorch_model.safetensors` → `diffusion_pytorch_model (2).safetensors`. */
function numbered(name: string, copy: number): string {
  return name.replace(/(\.(?:safetensors|gguf))?$/i, (ending) => ` (${copy})${ending}`);
}

/** Whether both are what the visitor picked twice. */
async function isSame(a: Source, b: Source): Promise<boolean> {
  if (isHandle(a) || isHandle(b)) return isHandle(a) && isHandle(b) && a.isSameEntry(b);
  return printOf(a) === printOf(b);
}

function isHandle(source: Source): source is Extract<Source, FileSystemHandle> {
  return typeof source === 'object' && 'isSameEntry' in source;
}

function printOf(source: Exclude<Source, FileSystemHandle>): string {
  if (typeof source === 'string' || source instanceof URL) return String(source);
  const files = source instanceof File ? [source] : Array.from(source);
  return JSON.stringify(files.map((file) => [file.webkitRelativePath, file.name, file.size, file.lastModified]));
}
