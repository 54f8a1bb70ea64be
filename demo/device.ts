/** @file Which device makes the pictures, and a plain notice when it is the slow one. */
import type { DeviceInfo } from '../src/index.js';
import { find } from './dom.js';

const BUILD = { jspi: 'JSPI', asyncify: 'Asyncify', wasm: 'WebAssembly' } as const satisfies Record<
  DeviceInfo['build'],
  string
>;

export function showDevice(device: DeviceInfo): void {
  const { backend, why, adapter, dtype, build, withheld } = device;
  const gpu = [adapter?.vendor, adapter?.architecture, adapter?.description].filter(
    (part) => part !== undefined && part !== '',
  );
  const name = backend === 'webgpu' ? `the GPU${gpu.length > 0 ? ` (${gpu.join(', ')})` : ''}` : 'the CPU';
  const kept = withheld.map(({ feature, why: reason }) => ` Not using ${feature}: ${reason}`).join('');
  const line = find('device', HTMLElement);
  line.dataset['backend'] = backend;
  line.textContent = `Runs on ${name} in ${dtype}, ONNX Runtime Web (${BUILD[build]}). ${why}${kept}`;

  const notice = find('cpu-notice', HTMLElement);
  notice.hidden = backend === 'webgpu';
  notice.textContent = backend === 'webgpu' ? '' : `Running on the CPU, so pictures take much longer. ${why}`;
}

export function showDeviceProblem(message: string): void {
  find('device', HTMLElement).textContent = `No device could be started: ${message}`;
}
