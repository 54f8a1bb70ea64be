/** @file For the tests of models that come over the network: a small model on a server of its own. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  openMisbehavingServer,
  type MisbehavingServer,
  type ServedFile,
} from '../../scripts/lib/misbehaving-server.js';

const MODEL = join(import.meta.dirname, '../golden/models/sd15-tiny');

export interface ServedModel extends MisbehavingServer {
  /** Address of the model. */
  readonly source: string;
  /** The path of its longest file. */
  readonly weights: string;
}

/** @param folder default: a tiny model of Stable Diffusion 1.5 */
export async function serveModel(folder = MODEL): Promise<ServedModel> {
  const server = await openMisbehavingServer();
  let [weights, most] = ['', 0];
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const file: ServedFile = { bytes: new Uint8Array(await readFile(path)), etag: '"1"' };
    const address = path.slice(folder.length);
    server.files.set(address, file);
    if (file.bytes.length > most) [weights, most] = [address, file.bytes.length];
  }
  return { ...server, source: `${server.origin}/`, weights };
}
