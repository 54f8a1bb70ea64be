/** @file The request's parameters as command-line options; values are only given their JSON type here, the pipeline checks them. */
type Kind = 'text' | 'number' | 'seed' | 'boolean' | 'json';

export interface ParameterOption {
  /** The parameter's name in the request, and the option's. */
  readonly flag: string;
  readonly kind: Kind;
  readonly help: string;
}

export const PARAMETER_OPTIONS: readonly ParameterOption[] = [
  { flag: 'positivePrompt', kind: 'text', help: 'the same as PROMPT' },
  { flag: 'negativePrompt', kind: 'text', help: 'what the picture should not show' },
  { flag: 'width', kind: 'number', help: '128–2048, a multiple of 64' },
  { flag: 'height', kind: 'number', help: '128–2048, a multiple of 64' },
  { flag: 'steps', kind: 'number', help: '1–100' },
  { flag: 'CFGScale', kind: 'number', help: '0–50; up to 1 is off' },
  { flag: 'scheduler', kind: 'text', help: 'name as in the request, for example "DPM++ 2M Karras"' },
  { flag: 'seed', kind: 'seed', help: '1–9223372036854775807; random when absent' },
  { flag: 'clipSkip', kind: 'number', help: '0–2' },
  { flag: 'numberResults', kind: 'number', help: '1–20' },
  { flag: 'outputType', kind: 'text', help: 'URL (a file name), dataURI or base64Data' },
  { flag: 'outputFormat', kind: 'text', help: 'PNG (the default here), JPG or WEBP' },
  { flag: 'outputQuality', kind: 'number', help: '20–99, for JPG and WEBP' },
  { flag: 'includeCost', kind: 'boolean', help: 'true or false' },
  { flag: 'taskUUID', kind: 'text', help: 'made up when absent' },
  { flag: 'vae', kind: 'text', help: 'model name' },
  { flag: 'promptWeighting', kind: 'text', help: 'compel or sdEmbeds' },
  { flag: 'trueCFGScale', kind: 'number', help: '1–20, FLUX.1: guidance by the negative prompt' },
  { flag: 'maxSequenceLength', kind: 'number', help: '1–512, FLUX.1: tokens that the prompt is padded to' },
  { flag: 'refiner', kind: 'json', help: 'JSON object' },
  { flag: 'controlNet', kind: 'json', help: 'JSON array' },
  { flag: 'lora', kind: 'json', help: 'JSON array' },
  { flag: 'embeddings', kind: 'json', help: 'JSON array' },
];

/** Options given → fields of a request. What cannot be read as its type stays text, so that the pipeline's own error names it. */
export function readParameters(values: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const fields: Record<string, unknown> = {};
  for (const { flag, kind } of PARAMETER_OPTIONS) {
    const value = values[flag];
    if (typeof value === 'string') fields[flag] = typed(value, kind);
  }
  return fields;
}

function typed(text: string, kind: Kind): unknown {
  switch (kind) {
    case 'text':
    case 'seed':
      return text;
    case 'number':
      return text.trim() !== '' && Number.isFinite(Number(text)) ? Number(text) : text;
    case 'boolean':
      return text === 'true' ? true : text === 'false' ? false : text;
    case 'json':
      return readJson(text);
    default:
      return kind satisfies never;
  }
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text; // refused by the pipeline, which says what it expected
  }
}
