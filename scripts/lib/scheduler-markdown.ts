/** @file The text of docs/schedulers.md, from the facts of every name. */
import { describeSampler, PICTURE_STEPS, TABLE_STEPS, type SchedulerFacts } from './scheduler-facts.js';

export const PAGE_PROMPT = 'a red house';
export const PAGE_SEED = 7;

/** A section of the page, with one contact sheet where the bundled model can be sampled. */
export interface Group {
  /** File name of its sheet, without the ending. */
  readonly id: string;
  readonly title: string;
  readonly members: readonly SchedulerFacts[];
}

const TITLES = {
  first: 'First order',
  second: 'Second order, two evaluations a step',
  adams: 'Linear multistep',
  single: 'DPM-Solver++ singlestep',
  multi2: 'DPM-Solver++ multistep, order 2',
  multi3: 'DPM-Solver++ multistep, order 3',
  unipc: 'UniPC',
  few: 'For few-step models',
  other: 'For models other than the bundled one',
} as const;

function groupOf({ sampler, because }: SchedulerFacts): keyof typeof TITLES {
  if (sampler === undefined || because !== undefined) return 'other';
  const { className, config } = sampler;
  if (className === 'DPMSolverMultistepScheduler') return config.solver_order === 2 ? 'multi2' : 'multi3';
  if (className === 'DPMSolverSinglestepScheduler') return 'single';
  if (/^(Heun|KDPM2)/.test(className)) return 'second';
  if (/^(LMS|IPNDM|PNDM|DEIS)/.test(className)) return 'adams';
  if (/^(LCM|TCD)/.test(className)) return 'few';
  return className === 'UniPCMultistepScheduler' ? 'unipc' : 'first';
}

/** The facts in the page's sections. */
export function groupsOf(facts: readonly SchedulerFacts[]): readonly Group[] {
  const ids = Object.keys(TITLES) as (keyof typeof TITLES)[]; // the keys of a constant object
  return ids.map((id) => ({ id, title: TITLES[id], members: facts.filter((f) => groupOf(f) === id) }));
}

/** `DPM++ 2M Karras` → `dpmpp-2m-karras`: the name of its plot's file. */
export const slugOf = (name: string): string =>
  name
    .toLowerCase()
    .replaceAll('++', 'pp')
    .replaceAll(/[^a-z0-9]+/g, '-');

/** σ as the page prints it. */
export const printSigma = (sigma: number | undefined): string => String(Number((sigma ?? NaN).toPrecision(4)));

const INTRO = `# Schedulers

Every scheduler name that a request may give, what it means, and what it does to the bundled model. \`npm run docs:schedulers\` makes
this page, its plots and its pictures; a test compares its numbers with the code.

The plots show σ/α, the ratio of noise to picture, at the start of each of ${TABLE_STEPS} steps and at the end, on a logarithmic scale (flow
models: σ; an end at 0 is off the scale). The column σ gives the first, the last before the end, and the end. "Network" is how often
${PICTURE_STEPS.join(', ')} steps evaluate the network. Names marked ◦ draw noise during the run.

The pictures are "${PAGE_PROMPT}" with seed ${PAGE_SEED}, from left to right at ${PICTURE_STEPS.join(', ')} steps.

**What to look for.** Without noise, all methods tend to one picture, and at 20 steps nearly all are there. With noise (◦) there is no
such limit, but the house stays. What falls short is in the methods; the numbers of every one are tested against its reference.

- Few steps: where a schedule goes down to σ = 0.03 before it ends (the linspace of Heun, DPM2 and iPNDM; any curve), one step spans a
  factor of ten and more, and the last evaluation comes where nothing is left to mend. Euler forgives that, higher orders overshoot.
- A beta curve spends its steps at both ends of σ, mostly the high one: eight steps go from 1 to 0.03 in one. An extrapolation of order 3
  over such uneven steps is unsteady at 20 steps still, with noise more so.
- DDIM and PNDM step down by 1000/N training timesteps from wherever the spacing puts them. With linspace, as here, the strides of the
  spacing are larger than that, and at four steps much noise is left over.
- iPNDM's coefficients are for even steps. Trailing timesteps (Uniform) end high enough for the last evaluation to mend the difference.
`;

function row(facts: SchedulerFacts): string {
  const { name, sampler, evaluations, because, sameAs } = facts;
  if (sampler === undefined) return `| ${name} | | ${because ?? ''} | | | |`;
  const { sigmas, className, stochastic } = sampler;
  const same = sameAs === undefined ? '' : `; draws what ${sameAs} draws`;
  const why = because === undefined ? '' : `; ${because}`;
  const cells = [
    `${name}${stochastic ? ' ◦' : ''}`,
    `\`${className}\``,
    `${describeSampler(sampler)}${same}${why}`,
    evaluations.join(', '),
    [sigmas[0], sigmas.at(-2), sigmas.at(-1)].map(printSigma).join(', '),
    `![σ of ${name}](schedulers/${slugOf(name)}.svg)`,
  ];
  return `| ${cells.join(' | ')} |`;
}

function section({ id, title, members }: Group): string {
  const drawn = members.filter(({ because, sameAs }) => because === undefined && sameAs === undefined);
  const sheet = drawn.length === 0 ? '' : `![${drawn.map(({ name }) => name).join('; ')}](schedulers/${id}.png)\n`;
  const head = '| Name | Class | What it is | Network | σ | Plot |\n| --- | --- | --- | --- | --- | --- |';
  return [`## ${title}\n`, sheet, [head, ...members.map(row)].join('\n'), ''].join('\n');
}

/** The page's text, before it is formatted. */
export const schedulerMarkdown = (facts: readonly SchedulerFacts[]): string =>
  [INTRO, ...groupsOf(facts).map(section)].join('\n');
