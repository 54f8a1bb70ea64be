import { openServedPage } from './lib/served-page.js';
const served = await openServedPage({ goldens: '/work/main/test/golden' });
served.page.on('console', (m) => console.log('page:', m.text()));
try {
  await served.page.addScriptTag({ type: 'module', url: '/test/browser/zz-banded-hand.ts' });
  await served.page.waitForFunction(() => 'hand' in globalThis);
  for (const call of JSON.parse(process.argv[2] ?? '[]')) {
    const r = await served.page.evaluate(([n, ...a]: any) => (globalThis as any).hand[n](...a).catch((e: any) => String(e.stack ?? e)), call);
    console.log(JSON.stringify(r));
  }
} finally { await served.close(); }
