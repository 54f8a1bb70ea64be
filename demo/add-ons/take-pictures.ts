/** @file The ways in which a picture file comes to an entry: chosen in its input, dropped on it, pasted while the focus is in it. */

/** What is taken here is not taken by the page (restore.ts): the event's default is prevented. */
export function takePictures(entry: HTMLElement, input: HTMLInputElement, onPicture: (file: File) => void): void {
  input.addEventListener('change', () => {
    take(input.files);
    input.value = ''; // the same file can be chosen again
  });
  entry.addEventListener('dragover', (event) => {
    if (event.dataTransfer?.types.includes('Files') === true) event.preventDefault();
  });
  entry.addEventListener('drop', (event) => {
    if (take(event.dataTransfer?.files)) event.preventDefault();
  });
  entry.addEventListener('paste', (event) => {
    if (take(event.clipboardData?.files)) event.preventDefault();
  });

  function take(files: FileList | null | undefined): boolean {
    const [file] = files ?? [];
    if (file !== undefined) onPicture(file);
    return file !== undefined;
  }
}
