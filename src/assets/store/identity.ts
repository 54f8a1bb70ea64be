/** @file Under which name a file is kept: a hash, so that no address, and no secret in one, is written to the disk. Pure. */
import { sha256 } from '../download/sha256.js';

/** Query parameters that say who asks or until when, not what for: signatures of storage services, and tokens. */
const SECRETS =
  /^(x-(amz|goog|oss|ms)-.*|(access_?|auth_?|api_?)?(token|key)|auth|authorization|password|sig|signature|expires|expiry|policy|key-pair-id|awsaccesskeyid|googleaccessid|hmac|verify|s[evprt]|sk(oid|tid|t|e|s|v)|response-content-.*)$/i;

/** 32 hexadecimal digits, the same for all addresses of one file: fragment, user, tokens and the order of the query do not count. */
export function identityOf(url: URL): string {
  const query = [...url.searchParams]
    .filter(([name]) => !SECRETS.test(name))
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
    .sort();
  return sha256(new TextEncoder().encode(`${url.origin}${url.pathname}?${query.join('&')}`)).slice(0, 32);
}

/** The same of a file that is made of those of a model. */
export function identityOfDerived(model: string, what: string): string {
  return sha256(new TextEncoder().encode(`${model} ${what}`)).slice(0, 32);
}
