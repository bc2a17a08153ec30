/** Whatever is sent to the daemon, it answers with what was wrong, goes on, and keeps nothing of it. */
import { connect } from 'node:net';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { slow } from '../lib/slow.ts';
import { useCli } from './cli.ts';
import { type Answered, clear, TestDaemon } from './daemon.ts';

const cli = useCli();
const SLEEPER = { name: 'web', template: 'busybox' as const, init: '/bin/sleep', args: ['100000'] };
const NAMES = [
  'none',
  '..',
  '%2e%2e%2f%2e%2e%2fetc',
  '%00',
  '%ff',
  'a%2fb',
  '__proto__',
  'constructor',
  'x'.repeat(300),
  '%20',
  '-',
];

async function withDaemon(act: (daemon: TestDaemon) => Promise<void>): Promise<void> {
  const daemon = await new TestDaemon(cli, cli.state(), `${cli.path('s')}.sock`).start();
  try {
    await act(daemon);
  } finally {
    await clear(daemon);
  }
}

const refused = ({ status, json }: Answered): unknown[] => [status, json.code];

test('bodies that are none, too large, too deep or of another type are refused by what is wrong with them', () =>
  withDaemon(async daemon => {
    const post = (body: unknown, headers = {}) => daemon.call('POST', '/v1/containers', { body, headers });
    const invalid = [400, 'REQUEST_INVALID'];
    for (const body of ['{', '[]', '"x"', '7', 'null', '{"a":1}x', '\u0000'])
      expect(refused(await post(body)), body).toEqual(invalid);
    expect(refused(await post('[{'.repeat(100_000)))).toEqual(invalid);
    expect(refused(await post(`{"name":${'['.repeat(5000)}${']'.repeat(5000)}}`))).toEqual(invalid);
    expect(refused(await post('a=b', { 'content-type': 'application/x-www-form-urlencoded' }))).toEqual(invalid);
    expect(refused(await post('{}', { 'content-type': 'text/plain' }))).toEqual(invalid);
    const large = `{"name":"${'x'.repeat(5 * 1024 * 1024)}"}`;
    // The connection may be closed before all was sent.
    const answer = await post(large).catch((error: NodeJS.ErrnoException) => error.code);
    expect(typeof answer === 'string' ? ['EPIPE', 'ECONNRESET'] : [413]).toContain(
      typeof answer === 'string' ? answer : answer?.status,
    );
    expect(refused(await post('{"__proto__":{"name":"x"},"rootfs":"/x"}'))).toEqual([400, 'SPEC_INVALID']);
    expect(refused(await daemon.call('GET', '/v1/containers?name=a&name=b'))).toEqual(invalid);
    expect(refused(await daemon.call('GET', '/v1/containers?nme=a'))).toEqual(invalid);
    expect(refused(await daemon.call('GET', '/v1/host?x=1'))).toEqual(invalid);
    expect(refused(await post({ ...SLEEPER, extra: 1 }))).toEqual([400, 'SPEC_INVALID']);
    expect(refused(await post(SLEEPER, { 'idempotency-key': 'with blank' }))).toEqual(invalid);
    expect(refused(await post(SLEEPER, { origin: 'http://localhost' }))).toEqual([403, 'FORBIDDEN']);
    expect(await daemon.client.list()).toEqual([]);
  }));

test('names that lead elsewhere lead nowhere', () =>
  withDaemon(async daemon => {
    for (const name of NAMES) {
      for (const [method, rest] of [
        ['GET', ''],
        ['DELETE', ''],
        ['POST', '/start'],
        ['GET', '/console'],
        ['GET', '/plan'],
      ] as const) {
        const { status } = await daemon.call(method, `/v1/containers/${name}${rest}`);
        expect([404, 405], `${method} ${name}${rest}`).toContain(status);
      }
      const made = await daemon.call('POST', '/v1/containers', {
        body: { ...SLEEPER, name: decodeURIComponent(name === '%ff' ? '/' : name) },
      });
      if (made.status === 201) await daemon.client.remove(decodeURIComponent(name));
      else expect(made.json).toMatchObject({ status: 400, field: 'name' });
    }
  }));

test('what is no HTTP is answered with 400 or not at all, and costs nobody else a thing', () =>
  withDaemon(async daemon => {
    const send = (bytes: string) =>
      new Promise<string>((resolve, reject) => {
        const socket = connect({ path: daemon.socket }, () => socket.end(bytes));
        let said = '';
        socket.on('data', data => {
          said += data.toString();
        });
        socket.on('error', (error: NodeJS.ErrnoException) =>
          ['EPIPE', 'ECONNRESET'].includes(error.code ?? '') ? resolve(said) : reject(error),
        );
        socket.on('close', () => resolve(said));
      });
    for (const bytes of [
      '\0\x01\x02\r\n\r\n',
      'GET\r\n\r\n',
      'GET /healthz HTTP/1.1\r\n\r\n',
      `GET /healthz HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(40_000)}\r\n\r\n`,
      'POST /v1/containers HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      'POST /v1/containers HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
      'GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n',
      'CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n',
      'GET //// HTTP/1.1\r\nHost: \x7f\r\n\r\n',
    ])
      expect(await send(bytes), JSON.stringify(bytes.slice(0, 60))).not.toMatch(/ 5\d\d /);
    expect((await daemon.call('GET', '/healthz')).json).toEqual({ status: 'ok' });
  }));

interface Operation {
  readonly operationId: string;
  readonly parameters: readonly { readonly name?: string; readonly in?: string; readonly schema?: Schema }[];
  readonly requestBody?: { readonly content: Record<string, { readonly schema: Schema }> };
}
interface Schema {
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Schema[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly $ref?: string;
}

/** Nothing of the host is ever made a root file system: what is there could be written to. */
const ROOTFS = fc.constantFrom<unknown>(
  '/nonexistent/x',
  'x',
  '',
  7,
  null,
  {},
  { path: 'x' },
  { image: '/nonexistent/i' },
  { archive: '/nonexistent/a' },
  { path: '/nonexistent', shift: 'chown' },
);

/** Near what is right, so that not all of it is refused at the first look. */
function near(schema: Schema, resolve: (reference: string) => Schema): fc.Arbitrary<unknown> {
  if (schema.$ref !== undefined) return near(resolve(schema.$ref), resolve);
  if (schema.anyOf !== undefined) return fc.oneof(...schema.anyOf.map(one => near(one, resolve)));
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  const { properties = {}, items = {} } = schema;
  switch (schema.type) {
    case 'object': {
      const entries = Object.entries(properties).map(
        ([key, value]) =>
          [
            key,
            key === 'rootfs'
              ? ROOTFS
              : fc.oneof({ weight: 9, arbitrary: near(value, resolve) }, fc.jsonValue({ maxDepth: 1 })),
          ] as const,
      );
      return fc
        .subarray(entries, { maxLength: Math.min(4, entries.length) })
        .chain(chosen => fc.record(Object.fromEntries(chosen), { requiredKeys: [] }));
    }
    case 'array':
      return fc.array(near(items, resolve), { maxLength: 3 });
    case 'string':
      return fc.oneof(
        fc.string({ maxLength: 12 }),
        fc.constantFrom('web', '/bin/true', 'auto', 'busybox', '\u0000', '\u{1f600}'),
      );
    case 'integer':
    case 'number':
      return fc.oneof(fc.integer({ min: -1, max: 100 }), fc.constantFrom(2 ** 53, 0.5));
    case 'boolean':
      return fc.boolean();
    default:
      return fc.jsonValue({ maxDepth: 2 });
  }
}

/** A spec that may well be taken: right, but for what may be added. */
function specs(schema: Schema, resolve: (reference: string) => Schema): fc.Arbitrary<unknown> {
  const name = fc.constantFrom('a', 'b', 'c');
  return fc.tuple(name, near(schema, resolve)).map(([name, more]) => {
    const { rootfs: _rootfs, template: _template, ...rest } = more as Record<string, unknown>;
    return { ...SLEEPER, ...rest, name };
  });
}

/** These end what the others are tried on. */
const ENDING = ['stopContainer', 'killContainer', 'restartContainer', 'rebootContainer', 'removeContainer'];
/** They stay open. */
const OPEN = ['readEvents', 'waitContainer', 'readConsole'];

test('no operation of the document answers with 500, whatever it is given, and nothing stays', {
  timeout: slow(240_000),
}, async () => {
  await withDaemon(async daemon => {
    const web = await daemon.client.create(SLEEPER);
    await web.start();
    const document = (await daemon.call('GET', '/v1/openapi.json')).json as {
      paths: Record<string, Record<string, Operation>>;
    };
    const resolve = (reference: string): Schema =>
      reference
        .slice(2)
        .split('/')
        .reduce<unknown>((value, key) => (value as Record<string, unknown>)[key], document) as Schema;
    const statuses = new Set<number>();
    for (const [path, operations] of Object.entries(document.paths)) {
      for (const [method, operation] of Object.entries(operations)) {
        if (OPEN.includes(operation.operationId)) continue;
        const names = ENDING.includes(operation.operationId) ? NAMES : [...NAMES, 'web', 'web', 'web'];
        const schema = operation.requestBody?.content['application/json']?.schema;
        const query = operation.parameters.filter(parameter => parameter.in === 'query');
        const call = fc.record({
          name: fc.constantFrom(...names),
          query: fc.array(
            fc.tuple(
              fc.constantFrom('x', ...query.map(({ name = '' }) => name)),
              fc.oneof(fc.string({ maxLength: 8 }), fc.constantFrom('true', '0', 'running')),
            ),
            { maxLength: 2 },
          ),
          body:
            schema === undefined
              ? fc.constant(undefined)
              : fc.oneof(
                  { weight: 4, arbitrary: near(schema, resolve) },
                  ...(operation.operationId === 'createContainer'
                    ? [{ weight: 2, arbitrary: specs(schema, resolve) }]
                    : []),
                  fc.jsonValue({ maxDepth: 2 }),
                  fc.string(),
                ),
        });
        await fc.assert(
          fc.asyncProperty(call, async ({ name, query, body }) => {
            const words = query
              .map(([key, value]) => `${encodeURIComponent(key)}=${encodeURIComponent(value)}`)
              .join('&');
            const where = path.replaceAll(/\{\w+\}/g, name) + (words === '' ? '' : `?${words}`);
            const { status, json, text } = await daemon.call(method.toUpperCase(), where, { body });
            statuses.add(status);
            if (status === 504 && json.code === 'TIMEOUT') return;
            expect(status, `${method} ${where} ${JSON.stringify(body)}: ${text.slice(0, 500)}`).toBeLessThan(500);
            if (status >= 400)
              expect(json).toMatchObject({ status, code: expect.any(String), detail: expect.any(String) });
          }),
          { numRuns: 60 },
        );
      }
    }
    expect([...statuses]).toEqual(expect.arrayContaining([200, 201, 400, 404, 409]));
    expect((await daemon.client.host()).version).toBe('0.1.0');
    expect(daemon.running.complained).not.toContain('a call has failed');
  });
});
