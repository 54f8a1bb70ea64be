/** @file Sums vitest's JSON reports into one closing line. Pure. */
/**
 * @typedef {object} Tally
 * @property {number} passed
 * @property {number} failed
 * @property {number} skipped skipped and to-do tests
 */

/**
 * @typedef {object} Report the part of vitest's JSON report that is read here
 * @property {readonly { readonly status: string, readonly assertionResults: readonly { readonly status: string }[] }[]} testResults
 */

/** One failure that no test stands for. @type {Tally} */
export const ONE_FAILURE = Object.freeze({ passed: 0, failed: 1, skipped: 0 });

/**
 * Counts one run. A file that failed outside its tests (an import, a hook) counts as one failure, and so does a run that ended
 * badly without naming one (a crash, an unhandled rejection, no tests at all).
 *
 * @param {Report | undefined} report undefined: the run ended without writing one
 * @param {number} status the run's exit status
 * @returns {Tally}
 */
export function tallyReport(report, status) {
  if (report === undefined) return ONE_FAILURE;
  const files = report.testResults;
  const states = files.flatMap((file) => file.assertionResults.map((test) => test.status));
  const failedTests = states.filter((state) => state === 'failed').length;
  const failedFiles = files.filter(
    (file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'),
  ).length;
  const passed = states.filter((state) => state === 'passed').length;
  const failed = failedTests + failedFiles;
  return {
    passed,
    failed: failed === 0 && status !== 0 ? 1 : failed,
    skipped: states.length - passed - failedTests,
  };
}

/** @param {readonly Tally[]} tallies @returns {Tally} */
export function sum(tallies) {
  return tallies.reduce(
    (a, b) => ({ passed: a.passed + b.passed, failed: a.failed + b.failed, skipped: a.skipped + b.skipped }),
    { passed: 0, failed: 0, skipped: 0 },
  );
}

/** @param {Tally} tally */
export function closingLine({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`;
}
