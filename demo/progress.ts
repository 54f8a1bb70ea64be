/** @file Where the work is: a line of words, a bar, the time left, and the same now and then for screen readers. */
import type { ProgressEvent } from '../src/index.js';
import { announce, find } from './dom.js';

const STAGES = {
  queue: 'Waiting for the picture before this one',
  download: 'Fetching the model',
  convert: 'Rounding the weights, once',
  load: 'Loading the model',
  compile: 'Preparing the programs for this device',
  text: 'Reading the prompt',
  denoise: 'Developing',
  decode: 'Making the print',
  preprocess: 'Preparing the guide',
  encode: 'Writing the file',
} as const satisfies Record<ProgressEvent['stage'], string>;

export interface ProgressView {
  start(): void;
  show(event: ProgressEvent): void;
  stop(): void;
}

export function createProgressView(): ProgressView {
  const box = find('progress', HTMLElement);
  const text = find('progress-text', HTMLElement);
  const left = find('progress-left', HTMLElement);
  const bar = find('progress-bar', HTMLProgressElement);
  let announced = '';

  /** Each stage once, and each quarter of the steps: not every step. */
  function tell(event: ProgressEvent, words: string): void {
    const quarter = event.step === undefined || event.of === undefined ? 0 : Math.floor((4 * event.step) / event.of);
    const key = `${event.image} ${event.stage} ${quarter}`;
    if (key === announced) return;
    announced = key;
    announce(words);
  }

  return {
    start() {
      announced = '';
      box.hidden = false;
      text.textContent = 'Starting';
      left.textContent = '';
      bar.removeAttribute('value');
    },
    show(event) {
      const words = describeProgress(event);
      text.textContent = words;
      left.textContent = event.secondsLeft === undefined ? '' : timeLeft(event.secondsLeft);
      const part = fraction(event);
      if (part === undefined) bar.removeAttribute('value');
      else bar.value = part;
      tell(event, words);
    },
    stop() {
      box.hidden = true;
    },
  };
}

/** "Developing picture 2 of 3, step 7 of 20". */
export function describeProgress({ stage, image, images, step, of, bytes, totalBytes }: ProgressEvent): string {
  const which = images > 1 && stage !== 'queue' ? ` picture ${image + 1} of ${images}` : '';
  const place = stage === 'denoise' || stage === 'decode' || stage === 'encode' ? which : '';
  const steps = step === undefined || of === undefined ? '' : `, step ${step} of ${of}`;
  const size = totalBytes === undefined ? '' : ` of ${megabytes(totalBytes)}`;
  const read = bytes === undefined ? '' : `, ${megabytes(bytes)}${size}`;
  return `${STAGES[stage]}${place}${steps}${read}`;
}

function fraction({ step, of, bytes, totalBytes }: ProgressEvent): number | undefined {
  if (step !== undefined && of !== undefined && of > 0) return step / of;
  if (bytes !== undefined && totalBytes !== undefined && totalBytes > 0) return bytes / totalBytes;
  return undefined;
}

function megabytes(bytes: number): string {
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}

function timeLeft(seconds: number): string {
  if (seconds < 1) return 'almost done';
  return seconds < 90 ? `about ${Math.ceil(seconds)} s left` : `about ${Math.round(seconds / 60)} min left`;
}
