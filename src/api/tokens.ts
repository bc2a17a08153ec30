/** Bearer tokens (RFC 6750): who may call over TCP. Of each only the hash of its secret is kept. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { open, readFile, rename } from 'node:fs/promises';
import * as v from 'valibot';
import { CaissonError } from '../spec/errors.js';
import type { Scope } from './route.js';

const FORM = /^caisson_([0-9a-f]{12})_([A-Za-z0-9_-]{43})$/;

const recordSchema = v.object({
  version: v.literal(1),
  tokens: v.array(
    v.object({
      id: v.pipe(v.string(), v.regex(/^[0-9a-f]{12}$/)),
      name: v.string(),
      scope: v.picklist(['read', 'admin']),
      /** SHA-256 of the secret in hex: 256 bits of chance need no slow hash. */
      hash: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)),
      created: v.number(),
    }),
  ),
});
type Stored = v.InferOutput<typeof recordSchema>['tokens'][number];

export interface TokenInfo {
  readonly id: string;
  readonly name: string;
  readonly scope: Scope;
  /** ms since the epoch. */
  readonly created: number;
}

const hashOf = (secret: string): string => createHash('sha256').update(secret).digest('hex');
const infoOf = ({ id, name, scope, created }: Stored): TokenInfo => ({ id, name, scope, created });

export class Tokens {
  private readonly tokens = new Map<string, Stored & { readonly revoked: AbortController }>();
  private writing: Promise<void> = Promise.resolve();

  private constructor(private readonly file: string) {}

  /** @throws CaissonError STATE_INVALID: a damaged file must not be taken for one without tokens, and written over. */
  static async open(file: string): Promise<Tokens> {
    const tokens = new Tokens(file);
    const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
      return undefined;
    });
    if (text === undefined) return tokens;
    try {
      for (const token of v.parse(recordSchema, JSON.parse(text)).tokens) tokens.put(token);
    } catch (error) {
      throw new CaissonError('STATE_INVALID', `${file} cannot be read: ${(error as Error).message}`, {
        field: 'tokens',
        hint: 'remove it, and make new tokens',
      });
    }
    return tokens;
  }

  list(): TokenInfo[] {
    return [...this.tokens.values()].map(infoOf);
  }

  /** The token itself is told this once. */
  async create(name: string, scope: Scope): Promise<TokenInfo & { readonly token: string }> {
    const id = randomBytes(6).toString('hex');
    const secret = randomBytes(32).toString('base64url');
    const stored: Stored = { id, name, scope, hash: hashOf(secret), created: Date.now() };
    this.put(stored);
    try {
      await this.write();
    } catch (error) {
      this.tokens.delete(id);
      throw error;
    }
    return { ...infoOf(stored), token: `caisson_${id}_${secret}` };
  }

  /** Ends its streams, too. @throws CaissonError NOT_FOUND */
  async revoke(id: string): Promise<void> {
    const token = this.tokens.get(id);
    if (token === undefined) throw new CaissonError('NOT_FOUND', 'there is no such token', { field: 'id' });
    token.revoked.abort();
    this.tokens.delete(id);
    try {
      await this.write();
    } catch (error) {
      // It is still on disk: it opens no door any more, but can be revoked again, until it is gone from there, too.
      this.tokens.set(id, token);
      throw error;
    }
  }

  /** Whose it is; undefined: nobody's. */
  find(token: string): (TokenInfo & { readonly revoked: AbortSignal }) | undefined {
    const [, id = '', secret = ''] = FORM.exec(token) ?? [];
    const found = this.tokens.get(id);
    if (found === undefined || found.revoked.signal.aborted) return undefined;
    if (!timingSafeEqual(Buffer.from(hashOf(secret)), Buffer.from(found.hash))) return undefined;
    return { ...infoOf(found), revoked: found.revoked.signal };
  }

  private put(token: Stored): void {
    this.tokens.set(token.id, { ...token, revoked: new AbortController() });
  }

  /** One after the other; a crash leaves the old file or the new one. */
  private write(): Promise<void> {
    const write = async (): Promise<void> => {
      const tokens = [...this.tokens.values()].map(({ revoked: _revoked, ...stored }) => stored);
      const file = await open(`${this.file}.new`, 'w', 0o600);
      try {
        await file.writeFile(`${JSON.stringify({ version: 1, tokens })}\n`);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(`${this.file}.new`, this.file);
    };
    const written = this.writing.then(write);
    this.writing = written.catch(() => undefined);
    return written;
  }
}
