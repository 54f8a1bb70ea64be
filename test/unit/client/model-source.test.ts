/** @file What a page may call a model's source. */
import { describe, expect, it } from 'vitest';
import { toWireModel, toWireSource } from '../../../src/client/model-source.js';

type Tree = { readonly [name: string]: Tree | string };

/** A folder handle over a plain object, with the parts of the File System API that a browser gives. */
function folder(name: string, tree: Tree): FileSystemDirectoryHandle {
  const handle = {
    kind: 'directory',
    name,
    async *entries() {
      for (const [child, content] of Object.entries(tree)) {
        await Promise.resolve();
        yield typeof content === 'string'
          ? [child, { kind: 'file', name: child, getFile: () => Promise.resolve(new File([content], child)) }]
          : [child, folder(child, content)];
      }
    },
  };
  return handle as unknown as FileSystemDirectoryHandle; // only what the code under test may use
}

function picked(path: string): File {
  const file = new File(['x'], path.split('/').at(-1) ?? '');
  return Object.defineProperty(file, 'webkitRelativePath', { value: path });
}

async function paths(source: Parameters<typeof toWireSource>[0]): Promise<readonly string[]> {
  const wire = await toWireSource(source, undefined);
  return wire.kind === 'files' ? wire.files.map(({ path }) => path) : [];
}

describe('toWireSource', () => {
  it('resolves URLs against the page', async () => {
    expect(await toWireSource('models/a/', 'https://example.org/app/')).toEqual({
      kind: 'url',
      url: 'https://example.org/app/models/a/',
    });
    expect(await toWireSource(new URL('https://example.org/x.safetensors'), undefined)).toMatchObject({
      url: 'https://example.org/x.safetensors',
    });
  });

  it('passes on a Hub repo, capitals and all', async () => {
    expect(await toWireSource('huggingface:Owner/Repo@refs/pr/1', 'https://example.org/app/')).toEqual({
      kind: 'url',
      url: 'huggingface:Owner/Repo@refs/pr/1',
    });
  });

  it.each(['models/a', 'javascript:alert(1)', 'data:text/plain,x', ''])('refuses the address %j', async (url) => {
    await expect(toWireSource(url, undefined)).rejects.toMatchObject({
      code: 'invalidModel',
      errors: [{ parameter: 'model' }],
    });
  });

  it('takes chosen files with their paths, and a single file', async () => {
    expect(await paths([picked('sd/model_index.json'), picked('sd/unet/config.json'), picked('sd/.git/HEAD')])).toEqual(
      ['sd/model_index.json', 'sd/unet/config.json'],
    );
    expect(await paths(new File(['x'], 'model.safetensors'))).toEqual(['model.safetensors']);
    expect(await paths({ length: 1, 0: new File(['x'], 'a.safetensors') })).toEqual(['a.safetensors']);
  });

  it('walks a folder handle', async () => {
    const tree = { 'model_index.json': '{}', unet: { 'config.json': '{}' }, '.cache': { x: 'x' } };
    expect(await paths(folder('sd', tree))).toEqual(['model_index.json', 'unet/config.json']);
  });

  it('takes the handle of a file', async () => {
    const file = new File(['x'], 'model.safetensors');
    const handle = { kind: 'file', name: file.name, getFile: () => Promise.resolve(file) };
    expect(await paths(handle as unknown as FileSystemFileHandle)).toEqual(['model.safetensors']); // as a browser's
  });

  it('refuses an empty folder and one that is too large to be a model', async () => {
    await expect(toWireSource([], undefined)).rejects.toMatchObject({ code: 'missingModelFile' });
    const many = Object.fromEntries(Array.from({ length: 5001 }, (_, i) => [`f${i}`, 'x']));
    await expect(toWireSource(folder('home', many), undefined)).rejects.toMatchObject({ code: 'invalidModel' });
  });

  it('keeps what is said of a model, and refuses one without a name', async () => {
    const model = { air: 'a:1@1', source: 'https://example.org/', overrides: { prediction: 'v_prediction' } } as const;
    expect(await toWireModel(model, undefined)).toEqual({
      ...model,
      source: { kind: 'url', url: 'https://example.org/' },
    });
    await expect(toWireModel({ ...model, air: ' ' }, undefined)).rejects.toMatchObject({ code: 'invalidModel' });
  });

  it('does not follow folders without end', async () => {
    const endless: Record<string, Tree | string> = { file: 'x' };
    endless['again'] = endless;
    expect(await paths(folder('loop', endless))).toHaveLength(7);
  });
});
