/** @file The noise levels of a run as a small SVG plot: σ on a logarithmic scale over the steps. */

const [WIDTH, HEIGHT] = [240, 110];
const FRAME = { left: 34, right: 8, top: 8, bottom: 18 } as const;
/** Decades shown: every schedule's, so that plots can be compared. */
const [LOWEST, HIGHEST] = [-3, 2];

/**
 * A file's text.
 *
 * @param sigmas σ/α (flow: σ) at the start of each step and at the end; a final 0 has no place on the scale and is left out
 */
export function plotSigmas(title: string, sigmas: readonly number[]): string {
  const shown = sigmas.filter((sigma) => sigma > 0);
  const last = Math.max(1, sigmas.length - 1);
  const x = (i: number): number => FRAME.left + (i / last) * (WIDTH - FRAME.left - FRAME.right);
  const y = (decade: number): number =>
    FRAME.top + ((HIGHEST - decade) / (HIGHEST - LOWEST)) * (HEIGHT - FRAME.top - FRAME.bottom);
  const places = shown.map((sigma, i) => {
    const decade = Math.min(HIGHEST, Math.max(LOWEST, Math.log10(sigma)));
    return { x: x(i).toFixed(1), y: y(decade).toFixed(1) };
  });
  const decades = Array.from({ length: HIGHEST - LOWEST + 1 }, (_, i) => LOWEST + i);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="9">`,
    `<title>${title}</title>`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>`,
    ...decades.map((d) => `<path d="M${FRAME.left} ${y(d).toFixed(1)}H${WIDTH - FRAME.right}" stroke="#ddd"/>`),
    ...decades.map((d) => `<text x="30" y="${(y(d) + 3).toFixed(1)}" text-anchor="end">${10 ** d}</text>`),
    ...[0, last].map((i) => `<text x="${x(i)}" y="${HEIGHT - 5}" text-anchor="middle">${i}</text>`),
    `<polyline points="${places.map((p) => `${p.x},${p.y}`).join(' ')}" fill="none" stroke="#36c"/>`,
    ...places.map((p) => `<circle cx="${p.x}" cy="${p.y}" r="1.8" fill="#36c"/>`),
    '</svg>\n',
  ].join('\n');
}
