/** @file Loading ONNX Runtime Web's CPU build in Node (command line and tests); never part of a browser bundle. */
import type { LoadOrt } from './ort.js';

export const loadOrtInNode: LoadOrt = async () => {
  const ort = await import('onnxruntime-web');
  ort.env.logLevel = 'error';
  return ort;
};
