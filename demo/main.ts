/** @file The demo page: wires the form, the stage and the contact sheet to one Darkroom. */
import { createDarkroom, type DarkroomOptions, type ImageInferenceRequest, type ImageResult } from '../src/index.js';
import { createAddOns } from './add-ons/add-ons.js';
import type { GuidePicture } from './add-ons/guide.js';
import { showDevice, showDeviceProblem } from './device.js';
import { announce, find, showMessage } from './dom.js';
import { setUpExtras } from './extras.js';
import { createRequestForm } from './form.js';
import { setUpFlux } from './flux.js';
import { setUpHistory } from './history.js';
import type { KeptPicture } from './history-store.js';
import { setUpModels } from './models.js';
import { clearProblems, firstAtFault, problemsOf, showProblems } from './problems.js';
import { createProgressView } from './progress.js';
import { setUpRestore } from './restore.js';
import { createShelf } from './shelf.js';
import { createStage } from './stage.js';
import { setUpTheme } from './theme.js';
import { createThumbnails } from './thumbnails.js';

const darkroom = createDarkroom({ backend: backendOf(new URLSearchParams(location.search).get('backend')) });

setUpTheme();
const shelf = createShelf(darkroom);
const addOns = createAddOns({ darkroom, shelf, shownPicture });
const form = createRequestForm(addOns);
const models = setUpModels(shelf);
setUpExtras(shelf);
setUpFlux(shelf, () => models.reopen());
const progress = createProgressView();
const stage = createStage({
  reuseSeed: (seed) => {
    form.seed.lock(seed);
    openSettings();
    find('seed', HTMLInputElement).focus();
  },
  reuseSettings: ({ request }) => {
    form.write(request);
    showMessage('The settings of this picture are in the form, its seed is locked.');
    find('positivePrompt', HTMLTextAreaElement).focus();
  },
  useAsGuide: (picture) => addOns.useAsGuide(guideOf(picture)),
});
const results = createThumbnails(find('results', HTMLElement), show);
const history = await setUpHistory(show);
setUpRestore((settings) => form.write(settings), shelf);
setUpKeys();
if (matchMedia('(min-width: 56rem)').matches) openSettings();
darkroom.device().then(showDevice, (error: unknown) => showDeviceProblem(problemsOf(error)[0]?.message ?? ''));

function shownPicture(): GuidePicture | undefined {
  const shown = stage.shown();
  return shown && guideOf(shown);
}

function guideOf({ id, blob }: KeptPicture): GuidePicture {
  return { kind: 'kept', imageUUID: id, blob };
}

function show(picture: KeptPicture): void {
  stage.showPicture(picture);
  results.mark(picture.id);
  history.mark(picture.id);
}

const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
let running: AbortController | undefined;

async function generate(): Promise<void> {
  if (running !== undefined) return;
  const abort = new AbortController();
  running = abort;
  setBusy(true);
  clearProblems();
  showMessage('');
  progress.start();
  try {
    if (await addOns.prepare(abort.signal)) await makePictures(form.read(), abort.signal);
    else if (abort.signal.aborted) showMessage('Cancelled.');
    else showGuideProblem();
  } catch (error) {
    stage.stopPrint();
    if (abort.signal.aborted) showMessage('Cancelled.');
    else showProblems(problemsOf(error));
  } finally {
    running = undefined;
    progress.stop();
    setBusy(false);
    find('results', HTMLElement).hidden = results.count < 2;
  }
}

async function makePictures(request: ImageInferenceRequest, signal: AbortSignal): Promise<void> {
  let lastMs = performance.now();
  results.show([]);
  stage.startPrint(request.width, request.height);
  find('print', HTMLElement).scrollIntoView({ block: 'nearest', behavior: calm ? 'instant' : 'smooth' });
  const pictures = await darkroom.imageInference(request, {
    signal,
    onProgress: (event) => progress.show(event),
    onPreview: (preview) => stage.showPreview(preview),
    onPicture: (picture) => {
      const nowMs = performance.now();
      receive(request, picture, nowMs - lastMs);
      lastMs = nowMs;
    },
  });
  announce(`${pictures.length === 1 ? 'The picture is' : `${pictures.length} pictures are`} ready.`);
}

/** It stands beside the guide already. */
function showGuideProblem(): void {
  const place = firstAtFault();
  place?.closest('details')?.setAttribute('open', '');
  place?.focus();
}

function receive(request: ImageInferenceRequest, picture: ImageResult, tookMs: number): void {
  const seed = picture.seedString ?? String(picture.seed);
  const { blob, width, height, backend, warnings, imageUUID: id } = picture;
  const own = { ...request, seed, numberResults: 1 };
  const kept = { id, createdMs: Date.now(), blob, request: own, seed, width, height, backend, tookMs, warnings };
  if (picture.imageURL !== undefined) darkroom.release(picture.imageURL); // the blob is kept; views make their own URLs
  form.seed.showUsed(seed);
  results.addLast(kept);
  find('results', HTMLElement).hidden = results.count < 2;
  void history.add(kept).then(() => history.mark(id));
  show(kept);
}

/** Swaps the two buttons, and keeps the focus on the one that is there. */
function setBusy(busy: boolean): void {
  const [start, cancel] = [find('generate', HTMLButtonElement), find('cancel', HTMLButtonElement)];
  const focused = document.activeElement === (busy ? start : cancel);
  start.hidden = busy;
  cancel.hidden = !busy;
  if (focused) (busy ? cancel : start).focus();
  find('stage', HTMLElement).setAttribute('aria-busy', String(busy));
}

function setUpKeys(): void {
  find('request', HTMLFormElement).addEventListener('submit', (event) => {
    event.preventDefault();
    void generate();
  });
  find('cancel', HTMLButtonElement).addEventListener('click', () => running?.abort());
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      void generate();
    } else if (event.key === 'Escape' && document.querySelector('dialog[open]') === null) {
      running?.abort();
    }
  });
}

function openSettings(): void {
  find('settings', HTMLDetailsElement).open = true;
}

function backendOf(name: string | null): NonNullable<DarkroomOptions['backend']> {
  return name === 'wasm' || name === 'webgpu' ? name : 'auto';
}
