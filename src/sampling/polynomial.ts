/** @file Polynomials as coefficient lists, lowest power first: the little that multistep methods need. Imports nothing. */

/** c₀ + c₁u + c₂u² + … */
export type Polynomial = readonly number[];

/** ℓ_j: 1 at node j and 0 at the other nodes (Lagrange). */
export function lagrangeBasis(nodes: readonly number[], j: number): Polynomial {
  const own = nodes[j] ?? 0;
  return nodes.reduce<Polynomial>(
    (product, node, k) => {
      if (k === j) return product;
      const timesU = [0, ...product];
      return timesU.map((c, power) => (c - node * (product[power] ?? 0)) / (own - node));
    },
    [1],
  );
}

const evaluate = (p: Polynomial, u: number): number => p.reduceRight((sum, c) => sum * u + c, 0);
const derivative = (p: Polynomial): Polynomial => p.slice(1).map((c, power) => c * (power + 1));
const antiderivative = (p: Polynomial): Polynomial => [0, ...p.map((c, power) => c / (power + 1))];

/** ∫₀ᵉⁿᵈ p(u) du */
export const integral = (p: Polynomial, end: number): number => evaluate(antiderivative(p), end);

/** ∫₀ᵉⁿᵈ p(u) eᵘ du, whose antiderivative is eᵘ·(p − p' + p'' − …). */
export function exponentialIntegral(p: Polynomial, end: number): number {
  let atEnd = 0;
  let atZero = 0;
  let sign = 1;
  for (let q = p; q.length > 0; q = derivative(q), sign = -sign) {
    atEnd += sign * evaluate(q, end);
    atZero += sign * evaluate(q, 0);
  }
  return Math.exp(end) * atEnd - atZero;
}
