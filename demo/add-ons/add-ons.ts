/** @file The add-ons of a picture: LoRAs, embeddings, ControlNets. Entries on the page ↔ their part of a request. */
import type { ImageInferenceRequest } from '../../src/index.js';
import { find, showMessage } from '../dom.js';
import { createControlEntry, type Control } from './control-entry.js';
import { createEntryList, type Entry, type EntryList } from './entry-list.js';
import type { GuidePicture } from './guide.js';
import type { GuideOptions } from './guide-field.js';
import { createWeightedEntry, type WeightedModel } from './weighted-entry.js';

export type AddOnSettings = Pick<ImageInferenceRequest, 'lora' | 'embeddings' | 'controlNet'>;

export interface AddOns {
  /** Draws guides that are not drawn yet. Resolves to false where that failed or was aborted. */
  prepare(signal: AbortSignal): Promise<boolean>;
  /** Entries that are filled in; lists without any are left out. */
  read(): AddOnSettings;
  /** Shows these entries and no others. */
  write(settings: AddOnSettings): void;
  /** Makes a picture the guide of the first ControlNet that has none, or of a new one. */
  useAsGuide(picture: GuidePicture): void;
}

const WEIGHTED = { lora: 'LoRA', embeddings: 'Embedding' } as const;

export function createAddOns(options: GuideOptions): AddOns {
  const section = find('add-ons', HTMLDetailsElement);
  const lists = {
    lora: weighted('lora'),
    embeddings: weighted('embeddings'),
    controlNet: createEntryList({
      name: 'controlNet',
      noun: 'ControlNet',
      create: (id, value: Control | undefined) => createControlEntry(id, value, options),
      onChange: count,
    }),
  };
  section.addEventListener('input', count);

  function weighted(name: keyof typeof WEIGHTED): EntryList<WeightedModel, Entry<WeightedModel>> {
    const field = { kind: name, noun: WEIGHTED[name], list: `open-${name}`, shelf: options.shelf };
    return createEntryList({
      name,
      noun: WEIGHTED[name],
      create: (id, value: WeightedModel | undefined) => createWeightedEntry(id, value, field),
      onChange: count,
    });
  }

  /** Says in the closed section that there is something in it. */
  function count(): void {
    const used = section.querySelectorAll('.entry').length;
    find('add-ons-count', HTMLElement).textContent = used === 0 ? '' : String(used);
  }

  return {
    async prepare(signal) {
      const guides = lists.controlNet.entries.map(({ guide }) => guide);
      const cancel = (): void => guides.forEach((guide) => guide.cancel());
      signal.addEventListener('abort', cancel, { once: true });
      const ready = await Promise.all(guides.map((guide) => guide.ready()));
      signal.removeEventListener('abort', cancel);
      return ready.every(Boolean);
    },
    read() {
      const [lora, embeddings, controlNet] = [lists.lora.read(), lists.embeddings.read(), lists.controlNet.read()];
      return {
        ...(lora.length === 0 ? {} : { lora }),
        ...(embeddings.length === 0 ? {} : { embeddings }),
        ...(controlNet.length === 0 ? {} : { controlNet }),
      };
    },
    write({ lora = [], embeddings = [], controlNet = [] }) {
      lists.lora.write(lora);
      lists.embeddings.write(embeddings);
      lists.controlNet.write(controlNet);
      if (lora.length + embeddings.length + controlNet.length > 0) section.open = true;
    },
    useAsGuide(picture) {
      section.open = true;
      const entry = lists.controlNet.entries.find(({ guide }) => guide.isEmpty) ?? lists.controlNet.add();
      entry.guide.choose(picture);
      showMessage('The picture is a guide now: see Add-ons.');
      entry.fields[0]?.querySelector('input')?.focus();
    },
  };
}
