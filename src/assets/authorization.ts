/** @file Which `Authorization` header goes to which host. A token goes to the very host it was given for, and never in the clear. */

/**
 * Headers by host name (`{ 'huggingface.co': 'Bearer hf_…' }`, with the port where it is not the usual one), or a function that is asked
 * at each request. What it returns goes to that URL only: on a redirect to another origin `fetch` drops it.
 */
export type Authorization =
  Readonly<Record<string, string>> | ((url: URL) => string | undefined | Promise<string | undefined>);

/** The header for `url`; none over plain http, but to the machine itself. */
export async function authorizationFor(
  authorization: Authorization | undefined,
  url: URL,
): Promise<string | undefined> {
  if (authorization === undefined || !isPrivate(url)) return undefined;
  if (typeof authorization === 'function') return authorization(url);
  return Object.hasOwn(authorization, url.host) ? authorization[url.host] : undefined;
}

/** Whether nobody between here and the host can read along (https://w3c.github.io/webappsec-secure-contexts/#is-origin-trustworthy). */
function isPrivate({ protocol, hostname }: URL): boolean {
  return protocol === 'https:' || (protocol === 'http:' && /^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname));
}
