/** @file Which of the known names somebody may have meant: "Did you mean …?" */

export interface Candidate {
  /** What a request would say. */
  readonly reference: string;
  /** What people call it. */
  readonly name?: string | undefined;
}

/** Up to `limit` candidates near `wanted`, the nearest first: another version of the same id, a part of a name, a few wrong letters. */
export function closeMatches(wanted: string, candidates: readonly Candidate[], limit = 3): readonly string[] {
  return candidates
    .map(({ reference, name }) => ({ reference, distance: distanceOf(wanted, reference, name) }))
    .filter(({ distance }) => distance <= 1)
    .sort((a, b) => a.distance - b.distance)
    .slice(0, limit)
    .map(({ reference }) => reference);
}

const plain = (text: string): string => text.toLowerCase().replace(/[^a-z0-9]+/g, '');
const idOf = (reference: string): string => reference.split('@')[0]?.toLowerCase() ?? '';

/** 0 = the same; up to 1 is near. */
function distanceOf(wanted: string, reference: string, name: string | undefined): number {
  if (reference.includes('@') && idOf(wanted) === idOf(reference)) return 0.1;
  const asked = plain(wanted);
  const spellings = [reference, reference.split('/').at(-1) ?? reference, name ?? ''].map(plain).filter((text) => text !== '');
  const partial = asked.length >= 4 && spellings.some((text) => text.includes(asked) || (text.length >= 4 && asked.includes(text)));
  const edits = spellings.map((text) => {
    const allowed = Math.max(1, Math.floor(Math.min(asked.length, text.length) / 6));
    const near = Math.abs(asked.length - text.length) <= allowed; // each letter more is an edit: a name of 4096 letters costs nothing
    return near ? editDistance(asked, text) / allowed : Infinity;
  });
  return Math.min(partial ? 0.5 : Infinity, ...edits);
}

/** Levenshtein's distance: how many letters to insert, remove or replace. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replace, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
