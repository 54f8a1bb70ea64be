/** @file Code written for the cloud's SDK, on this machine. */
import { describe, expect, it, vi } from 'vitest';
import { Runware } from '../../../src/client/runware.js';
import { fakeWorker, makes, picture } from './fake-worker.js';

const REQUEST = { positivePrompt: 'a red house', model: 'darkroom:1@1', numberResults: 2 } as const;

describe('Runware', () => {
  it('makes pictures under the names of the SDK, and tells of each', async () => {
    const pictures = [picture(), picture({ image: 1, seed: 43n })];
    const worker = fakeWorker(makes(...pictures));
    const runware = await Runware.initialize({ apiKey: 'key', worker: () => worker });
    const onPartialImages = vi.fn();
    const images = await runware.requestImages({ ...REQUEST, customTaskUUID: 'x', onPartialImages });
    expect(images?.map(({ seed }) => seed)).toEqual([42, 43]);
    expect(onPartialImages.mock.calls).toEqual(images.map((image) => [[image]]));
    expect(worker.tasks).toEqual([expect.objectContaining({ ...REQUEST, taskUUID: 'x' })]);
    await runware.disconnect();
    expect(worker.terminated).toBe(true);
  });

  it('rejects with what reads like the SDK’s `{ error }`', async () => {
    const problem = { code: 'invalidWidth', message: 'Invalid width.', parameter: 'width' } as const;
    const worker = fakeWorker(() => Promise.resolve({ ok: false, errors: [problem] }));
    const runware = new Runware({ worker: () => worker });
    const onPartialImages = vi.fn();
    await expect(runware.imageInference({ ...REQUEST, onPartialImages })).rejects.toMatchObject({ error: problem });
    expect(onPartialImages).toHaveBeenCalledWith(undefined, expect.objectContaining({ error: problem }));
    await runware.disconnect();
  });

  it('refuses tasks that are not pictures from prompts', async () => {
    const runware = new Runware();
    for (const refused of [runware.upscale(), runware.removeBackground(), runware.promptEnhance(), runware.caption()]) {
      await expect(refused).rejects.toMatchObject({ code: 'unsupportedTaskType' });
    }
  });
});
