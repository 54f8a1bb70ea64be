/** @file What no file of the project may say, as pure functions over text; text.test.ts runs them. */

/** Folders of one machine: they mean nothing on another. */
const MACHINE_PATHS = [
  /(?<![\w.:/-])\/(work|root)\/[\w.-]+/g,
  /(?<![\w.:/-])\/(home|Users)\/[\w-]+\/[\w.-]+/g,
  /\b[A-Z]:[\\/]+Users[\\/]+\w+/g,
];

/** Hosts that packages are downloaded from: which one is the reader's choice. */
const REGISTRY_HOSTS = [
  /\bregistry\.[a-z-]+\.[a-z]{2,}\b/gi,
  /\b[\w.-]*(artifactory|jfrog|verdaccio|npmmirror)[\w-]*\.[a-z]{2,}\b/gi,
];

/** Every machine path and registry host in a text. */
export function foreignPlaces(text: string): readonly string[] {
  return [...MACHINE_PATHS, ...REGISTRY_HOSTS].flatMap((pattern) =>
    [...text.matchAll(pattern)].map(([found]) => found),
  );
}
