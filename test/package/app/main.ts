/** @file The smallest page that uses the package: one picture of the bundled model, made on the CPU. */
import { createDarkroom, DarkroomError, type ImageResult } from 'darkroom';

const output = document.querySelector('output');
const darkroom = createDarkroom({ backend: 'wasm' });

try {
  const pictures: readonly ImageResult[] = await darkroom.imageInference({
    positivePrompt: 'a red house',
    model: 'darkroom:1@1',
    steps: 8,
    seed: 1,
    outputType: 'dataURI',
    outputFormat: 'PNG',
  });
  for (const { imageDataURI = '' } of pictures) document.body.append(Object.assign(new Image(), { src: imageDataURI }));
  report(pictures.length === 1 ? 'done' : `failed: ${pictures.length} pictures`);
} catch (error) {
  report(error instanceof DarkroomError ? `failed: ${error.code}: ${error.message}` : `failed: ${String(error)}`);
}

function report(text: string): void {
  if (output !== null) output.textContent = text;
}
