import { openServedPage } from './lib/served-page.js';
const served = await openServedPage({ goldens: '/work/main/test/golden' });
served.page.on('console', (m) => console.log('page:', m.text()));
import { readdirSync, readFileSync } from 'node:fs';
const gpuCpu = () => {
  let total = 0;
  for (const pid of readdirSync('/proc').filter((d) => /^\d+$/.test(d))) {
    try {
      if (!readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('--type=gpu-process')) continue;
      let q = pid, mine = false;
      while (Number(q) > 1) { if (Number(q) === process.pid) mine = true; q = readFileSync(`/proc/${q}/stat`, 'utf8').split(') ')[1]!.split(' ')[1]!; }
      if (!mine) continue;
      const f = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
      total += (Number(f[11]) + Number(f[12])) / 100;
    } catch {}
  }
  return total;
};
await served.page.exposeFunction('gpuCpu', gpuCpu);
try {
  await served.page.addScriptTag({ type: 'module', url: '/test/browser/zz-banded-hand.ts' });
  await served.page.waitForFunction(() => 'hand' in globalThis);
  for (const call of JSON.parse(process.argv[2] ?? '[]')) {
    const r = await served.page.evaluate(([n, ...a]: any) => (globalThis as any).hand[n](...a).catch((e: any) => String(e.stack ?? e)), call);
    console.log(JSON.stringify(r));
  }
} finally { await served.close(); }
