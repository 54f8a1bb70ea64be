import { fuzzTargets } from './lib/fuzz-targets.js';
import { randomFrom, seedOf } from './lib/fuzz-random.js';
import * as E from '../src/base/errors.js';
const kind = process.argv[2]!;
const [t] = fuzzTargets(kind);
const why = new Map<string, number>();
const orig = (E.DarkroomError as any);
process.env['WHY']='1';
(globalThis as any).__why = (m: string) => { const k = m.replace(/[0-9]+/g,'N').replace(/"[^"]*"/g,'"…"').slice(0,110); why.set(k, (why.get(k)??0)+1); };
for (let i=0;i<Number(process.argv[3]??300);i++) { try { await t!.run(randomFrom(seedOf(kind,1,i))); } catch (e) { console.log(i, e); } }
console.log([...why].sort((a,b)=>b[1]-a[1]).slice(0,25));
