/** @file What counts as a picture in a request, by its form. */
import { describe, expect, test } from 'vitest';
import { MAX_IMAGE_BYTES, parseImageReference } from '../../../src/request/image-reference.js';
import { TASK_UUID, problemsOf } from './raw-task.js';

/** A PNG file of one pixel, in base64. */
const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

describe('parseImageReference', () => {
  test.each<[string, unknown, object]>([
    ['a UUID', TASK_UUID, { kind: 'uuid', uuid: TASK_UUID }],
    ['a UUID in capitals', TASK_UUID.toUpperCase(), { kind: 'uuid', uuid: TASK_UUID }],
    ['a data URI', `data:image/png;base64,${PNG}`, { kind: 'base64', base64: PNG, mime: 'image/png' }],
    [
      'one with parameters',
      'data:image/png;name=a.png;base64,AAAA',
      { kind: 'base64', base64: 'AAAA', mime: 'image/png' },
    ],
    ['one without a type', 'DATA:;base64,AAAA', { kind: 'base64', base64: 'AAAA', mime: undefined }],
    ['bare base64', PNG, { kind: 'base64', base64: PNG, mime: undefined }],
    ['base64 in lines', PNG.replace(/.{30}/g, '$&\r\n'), { kind: 'base64', mime: undefined }],
    ['an address', 'https://example.org/a.png?b=c', { kind: 'url', url: new URL('https://example.org/a.png?b=c') }],
    ['an address in capitals', 'HTTP://EXAMPLE.ORG/A', { kind: 'url', url: new URL('http://example.org/A') }],
    [
      'an address of the page',
      'blob:https://example.org/1',
      { kind: 'url', url: new URL('blob:https://example.org/1') },
    ],
  ])('%s', (_name, value, expected) => {
    expect(parseImageReference(value)).toMatchObject(expected);
  });

  test('a file', () => {
    const blob = new Blob(['x'], { type: 'image/png' });
    expect(parseImageReference(blob)).toEqual({ kind: 'blob', blob });
  });

  test.each<[string, unknown]>([
    ['nothing', ''],
    ['the nil UUID', '00000000-0000-0000-0000-000000000000'],
    ['a file name', 'guide.png'],
    ['a path', '/pictures/guide.png'],
    ['another protocol', 'ftp://example.org/a.png'],
    ['a script', 'javascript:alert(1)'],
    ['an address without a host', 'https://'],
    ['a data URI that is not base64', 'data:image/svg+xml,<svg/>'],
    ['a data URI that never gets to its data', `data:image/png;${'x=y;'.repeat(1e5)}`],
    ['text too short for a picture', 'AAAA'],
    ['text that is not base64', 'a picture of a house, please, with a garden'],
    ['more than any picture', 'A'.repeat(MAX_IMAGE_BYTES * 2)],
    ['an empty file', new Blob([])],
    ['what pretends to be a file', Object.create(Blob.prototype)],
    ['an object', {}],
    ['a number', 5],
  ])('not %s', (_name, value) => {
    expect(parseImageReference(value)).toBeUndefined();
  });

  test('a request with a file passes, and is told apart from one with a wrong name', () => {
    const net = (guideImage: unknown) => ({ controlNet: [{ model: 'canny', guideImage }] });
    expect(problemsOf(net(new Blob(['x'])))).toEqual([]);
    expect(problemsOf(net(new Blob([])))).toMatchObject([{ code: 'invalidControlNetGuideImage' }]);
    expect(problemsOf(net('guide.png'))[0]?.message).toBe(
      'Invalid value for \'controlNet[0].guideImage\': got "guide.png", expected a picture: a UUID, a data URI, base64, a URL or a file.',
    );
  });
});
