/** @file Progress on a terminal: one line that is written over. Silent where the output is not a terminal. */
import type { ProgressEvent } from '../../src/pipeline/events.js';

export interface ProgressLine {
  readonly show: (event: ProgressEvent) => void;
  readonly end: () => void;
}

export function createProgressLine(stream: NodeJS.WriteStream, quiet: boolean): ProgressLine {
  if (quiet || !stream.isTTY) return { show: () => undefined, end: () => undefined };
  return {
    show: (event) => stream.write(`\r\u001b[K${describe(event)}`),
    end: () => stream.write('\r\u001b[K'),
  };
}

function describe({ stage, image, images, step, of, bytes, totalBytes, secondsLeft }: ProgressEvent): string {
  const parts: string[] = [images > 1 ? `picture ${image + 1} of ${images}: ${stage}` : stage];
  if (step !== undefined && of !== undefined)
    parts.push(`${'█'.repeat(Math.round((20 * step) / of)).padEnd(20, '░')} ${step}/${of}`);
  if (bytes !== undefined && totalBytes !== undefined) parts.push(`${megabytes(bytes)} of ${megabytes(totalBytes)} MB`);
  if (secondsLeft !== undefined)
    parts.push(`${secondsLeft < 10 ? secondsLeft.toFixed(1) : Math.round(secondsLeft)} s left`);
  return parts.join('  ');
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}
