/** @file The cards of published models: each parses, identifiers are unique, and those of the cloud's guide are there. */
import { describe, expect, it } from 'vitest';
import { airKey, formatAir, parseAir } from '../../../src/models/air.js';
import { parseCard } from '../../../src/models/card.js';
import { hubPlaceOf, parseHubUrl } from '../../../src/models/hub.js';
import { hubAddress, KNOWN_MODELS, knownByKey, knownByPlace, recordOfKnown } from '../../../src/models/known-models.js';

/** The cloud's identifiers of ControlNets for FLUX.1, which are modes of one net. */
const FLUX_UNION = ['canny', 'tile', 'depth', 'blur', 'pose', 'gray', 'lq'].map(
  (mode, i) => [`runware:${25 + i}@1`, mode] as const,
);

/** Identifiers of the text-to-image guide, the API reference and the list of ControlNets, and what each is. */
const DOCUMENTED = [
  ['civitai:4384@128713', 'checkpoint', 'Lykon/dreamshaper-8'],
  ['civitai:101055@128078', 'checkpoint', 'stabilityai/stable-diffusion-xl-base-1.0'],
  ['civitai:101055@128080', 'checkpoint', 'stabilityai/stable-diffusion-xl-refiner-1.0'],
  ['civitai:133005@782002', 'checkpoint', 'RunDiffusion/Juggernaut-XI-v11'],
  ['civitai:139562@297320', 'checkpoint', undefined],
  ['runware:100@1', 'checkpoint', 'black-forest-labs/FLUX.1-schnell'],
  ['runware:101@1', 'checkpoint', 'black-forest-labs/FLUX.1-dev'],
  ['runware:102@1', 'elsewhere', undefined],
  ['civitai:38784@44716', 'controlnet', 'lllyasviel/control_v11p_sd15_canny'],
  ['civitai:38784@44876', 'controlnet', 'lllyasviel/control_v11p_sd15_inpaint'],
  ['civitai:38784@44877', 'controlnet', 'lllyasviel/control_v11p_sd15_lineart'],
  ['civitai:38784@44795', 'controlnet', 'lllyasviel/control_v11p_sd15_mlsd'],
  ['civitai:38784@44774', 'controlnet', 'lllyasviel/control_v11p_sd15_normalbae'],
  ['runware:20@1', 'controlnet', 'diffusers/controlnet-canny-sdxl-1.0'],
  ...FLUX_UNION.map(([air]) => [air, 'controlnet', 'InstantX/FLUX.1-dev-Controlnet-Union'] as const),
] as const;

describe('known models', () => {
  it.each(DOCUMENTED)('%s is a %s', (air, kind, repo) => {
    const known = knownByKey(airKey(parseAir(air)));
    expect(known?.kind).toBe(kind);
    expect(known && parseHubUrl(hubAddress(known) ?? '')?.repo).toBe(repo);
  });

  it('have identifiers in normal form, each once', () => {
    const airs = KNOWN_MODELS.map(({ air }) => air);
    expect(airs.map((air) => formatAir(parseAir(air)))).toEqual(airs);
    expect(new Set(airs.map((air) => airKey(parseAir(air)))).size).toBe(airs.length);
  });

  it.each(KNOWN_MODELS.map((known) => [known.air, known] as const))('%s parses', (air, known) => {
    const { card } = recordOfKnown(known);
    expect(card.name).toBe(known.name);
    if (known.kind !== 'checkpoint') return;
    expect(parseCard({ ...card, air })).toMatchObject({ ...card, air });
    expect(known.native.every((side) => side % 64 === 0)).toBe(true);
  });

  it('have Hub addresses, and those named after a repo are in it', () => {
    for (const known of KNOWN_MODELS) {
      const url = hubAddress(known);
      const place = url === undefined ? undefined : parseHubUrl(url);
      expect(place === undefined, known.air).toBe(url === undefined);
      const air = parseAir(known.air);
      if (air.source === 'huggingface') expect(place).toMatchObject({ ...hubPlaceOf(air), path: place?.path });
    }
  });

  it('say which mode of a union net they are; its repo alone is of none', () => {
    const modeOf = (air: string): unknown => {
      const known = knownByKey(airKey(parseAir(air)));
      return known && recordOfKnown(known).overrides.unionMode;
    };
    expect(FLUX_UNION.map(([air]) => modeOf(air))).toEqual(FLUX_UNION.map(([, mode]) => mode));
    expect(modeOf('huggingface:InstantX/FLUX.1-dev-Controlnet-Union')).toBeUndefined();
    const place = { repo: 'InstantX/FLUX.1-dev-Controlnet-Union', revision: 'main', path: undefined };
    expect(knownByPlace(place)).toMatchObject({ conditioning: 'union' });
  });

  it('claim to be verified only where somebody did', () => {
    const verified = KNOWN_MODELS.filter((known) => known.kind !== 'elsewhere' && known.hub?.verified === true);
    expect(verified.map(({ air }) => air)).toEqual([]);
  });
});
