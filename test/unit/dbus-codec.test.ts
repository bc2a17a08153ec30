/** The D-Bus wire format: what is written can be read again, is laid out as the specification says, and nothing else is read. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DBusError, DBusFormatError } from '#src/syscalls/dbus/error.js';
import { marshal } from '#src/syscalls/dbus/marshal.js';
import { decodeMessage, encodeMessage, type Message, messageLength } from '#src/syscalls/dbus/message.js';
import { typesOf, type Value } from '#src/syscalls/dbus/types.js';
import { unmarshal } from '#src/syscalls/dbus/unmarshal.js';

/** A complete type with a value of it. */
interface Typed {
  readonly signature: string;
  readonly value: Value;
}

const text = fc.string({ unit: 'grapheme', maxLength: 12 }).filter(value => !value.includes('\0'));
const path = fc.array(fc.stringMatching(/^[A-Za-z0-9_]{1,6}$/), { maxLength: 3 }).map(parts => `/${parts.join('/')}`);
const integer = (min: number, max: number): fc.Arbitrary<number> => fc.integer({ min, max });

const BASIC: Readonly<Record<string, fc.Arbitrary<Value>>> = {
  y: integer(0, 0xff),
  b: fc.boolean(),
  n: integer(-0x8000, 0x7fff),
  q: integer(0, 0xffff),
  i: integer(-0x8000_0000, 0x7fff_ffff),
  u: integer(0, 0xffff_ffff),
  x: fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }),
  t: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
  d: fc.double({ noNaN: true }),
  s: text,
  o: path,
  g: fc.constantFrom('', 's', 'a(sv)', 'a{sa(ii)}', '(y(tt)ao)'),
  h: integer(0, 7),
};

/** Values of a signature that was drawn before: all items of an array have the same one. */
function valuesFor(signature: string): fc.Arbitrary<Value> {
  const inner = signature.slice(1, -1);
  if (signature === 'ay') return fc.uint8Array({ maxLength: 20 });
  if (signature === 'v')
    return fc.constantFrom('u', 's', 'as', '(sb)').chain(of => valuesFor(of).map(value => ({ signature: of, value })));
  if (signature.startsWith('a{')) return fc.array(fieldsOf(signature.slice(2, -1)), { maxLength: 4 });
  if (signature.startsWith('a')) return fc.array(valuesFor(signature.slice(1)), { maxLength: 4 });
  if (signature.startsWith('(')) return fieldsOf(inner);
  return BASIC[signature] as fc.Arbitrary<Value>;
}

function fieldsOf(signatures: string): fc.Arbitrary<Value> {
  return fc.tuple(...split(signatures).map(valuesFor));
}

/** The complete types of a signature, as texts. */
function split(signatures: string): string[] {
  const out: string[] = [];
  for (let at = 0; at < signatures.length; ) {
    let end = at;
    while (signatures[end] === 'a') end++;
    for (let depth = 0; ; ) {
      const code = signatures[end++];
      if (code === '(' || code === '{') depth++;
      if (code === ')' || code === '}') depth--;
      if (depth === 0) break;
    }
    out.push(signatures.slice(at, end));
    at = end;
  }
  return out;
}

const { type: anySignature } = fc.letrec<{ type: string }>(tie => ({
  type: fc.oneof(
    { maxDepth: 3, depthSize: 'small' },
    fc.constantFrom(...Object.keys(BASIC), 'v', 'ay'),
    tie('type').map(item => `a${item}`),
    fc.array(tie('type'), { minLength: 1, maxLength: 3 }).map(fields => `(${fields.join('')})`),
    fc.tuple(fc.constantFrom(...Object.keys(BASIC)), tie('type')).map(([key, value]) => `a{${key}${value}}`),
  ),
}));

const typed: fc.Arbitrary<Typed> = anySignature.chain(signature =>
  valuesFor(signature).map(value => ({ signature, value })),
);

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

describe('values', () => {
  test('what is marshalled is unmarshalled to the same', () => {
    fc.assert(
      fc.property(fc.array(typed, { maxLength: 4 }), all => {
        const signature = all.map(one => one.signature).join('');
        const values = all.map(({ value }) => value);
        expect(typesOf(signature)).toHaveLength(all.length);
        expect(unmarshal(signature, marshal(signature, values))).toEqual(values);
      }),
      { numRuns: 500 },
    );
  });

  test.each([
    ['y', [7], '07'],
    ['yu', [1, 2], '01000000 02000000'],
    ['b', [true], '01000000'],
    ['n', [-2], 'feff'],
    ['x', [-2n], 'feffffffffffffff'],
    ['s', ['foo'], '03000000 666f6f00'],
    ['g', ['ai'], '02616900'],
    ['yd', [1, 1.5], '0100000000000000 000000000000f83f'],
    // The padding before the first item does not count, and is there without an item, too.
    ['at', [[5n]], '08000000 00000000 0500000000000000'],
    ['at', [[]], '00000000 00000000'],
    ['a(yy)', [[[1, 2]]], '02000000 00000000 0102'],
    ['v', [{ signature: 'u', value: 9 }], '01750000 09000000'],
    ['a{sy}', [[['a', 1]]], '07000000 00000000 01000000 6100 01'],
    ['a(sv)', [[['A', { signature: 'b', value: true }]]], '10000000 00000000 01000000 4100 0162 00000000 01000000'],
    ['au', [[3, 4]], '08000000 03000000 04000000'],
    ['ay', [Uint8Array.of(1, 2, 3)], '03000000 010203'],
  ] as const)('%s is laid out as specified: %#', (signature, values, wanted) => {
    expect(hex(marshal(signature, values as readonly Value[]))).toBe(wanted.replaceAll(' ', ''));
  });

  test('the other byte order is read, too', () => {
    const bytes = Buffer.from('00000008000000000000000000000007' + '00000002' + 'fffe', 'hex');
    expect(unmarshal('atun', bytes, false)).toEqual([[7n], 2, -2]);
    expect(unmarshal('s', Buffer.from('0000000161' + '00', 'hex'), false)).toEqual(['a']);
  });

  test.each([
    ['y', [256]],
    ['y', [-1]],
    ['y', [1.5]],
    ['u', [2 ** 32]],
    ['i', [2 ** 31]],
    ['u', ['1']],
    ['b', [1]],
    ['t', [1]],
    ['t', [-1n]],
    ['x', [1n << 63n]],
    ['s', ['a\0b']],
    ['s', [1]],
    ['o', ['relative']],
    ['o', ['/a//b']],
    ['o', ['/a/']],
    ['g', ['a']],
    ['v', ['bare']],
    ['v', [{ signature: 'uu', value: 1 }]],
    ['as', ['text']],
    ['(ss)', [['one']]],
    ['ss', ['one']],
  ] as const)('%s does not take every value: %#', (signature, values) => {
    expect(() => marshal(signature, values as readonly Value[])).toThrow(DBusFormatError);
  });

  test.each([
    'a',
    '(',
    '()',
    '(s',
    's)',
    'a{vs}',
    'a{s}',
    'a{sss}',
    '{ss}',
    'z',
    `${'a'.repeat(33)}s`,
    `${'('.repeat(33)}s${')'.repeat(33)}`,
    's'.repeat(256),
  ])('the signature %s is refused', signature => {
    expect(() => typesOf(signature)).toThrow(DBusFormatError);
  });

  test.each([
    ['a boolean of 2', 'b', '02000000'],
    ['padding that is not zero', 'yu', '0100010002000000'],
    ['a string without its NUL', 's', '0100000061'],
    ['a string with a NUL inside', 's', '03000000 61006200'],
    ['a string that is not UTF-8', 's', '01000000 ff00'],
    ['an array whose last item goes past its end', 'au', '06000000 01000000 02000000'],
    ['an array longer than what there is', 'au', 'ff000000 01000000'],
    ['an array longer than any may be', 'ay', '01000004'],
    ['bytes after the last value', 'y', '0102'],
    ['a variant of two types', 'v', '027575 00 0000 0000'],
  ])('%s is refused', (_, signature, bytes) => {
    expect(() => unmarshal(signature, Buffer.from(bytes.replaceAll(' ', ''), 'hex'))).toThrow(DBusFormatError);
  });

  test('bytes of no meaning are refused, and never anything worse', () => {
    fc.assert(
      fc.property(anySignature, fc.uint8Array({ maxLength: 64 }), fc.boolean(), (signature, bytes, little) => {
        try {
          unmarshal(signature, Buffer.from(bytes), little);
        } catch (error) {
          expect(error).toBeInstanceOf(DBusFormatError);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe('messages', () => {
  const name = fc.stringMatching(/^[a-z]{1,8}(\.[a-z]{1,8}){1,2}$/);
  const message = fc
    .record({
      serial: integer(1, 0xffff_ffff),
      path,
      interface: name,
      member: name,
      destination: name,
      sender: name,
      body: fc.array(typed, { maxLength: 3 }),
    })
    .map(
      ({ body, ...header }): Message => ({
        ...header,
        type: 'signal',
        ...(body.length === 0 ? {} : { signature: body.map(({ signature }) => signature).join('') }),
        body: body.map(({ value }) => value),
      }),
    );

  test('what is encoded is decoded to the same, and its length is known from its first bytes', () => {
    fc.assert(
      fc.property(message, fc.uint8Array({ maxLength: 8 }), (one, more) => {
        const bytes = encodeMessage(one);
        expect(decodeMessage(bytes)).toEqual(one);
        const stream = Buffer.concat([bytes, more]);
        for (const length of [0, 15]) expect(messageLength(stream.subarray(0, length))).toBeUndefined();
        expect(messageLength(stream.subarray(0, 16))).toBe(bytes.length);
        expect(messageLength(stream)).toBe(bytes.length);
      }),
    );
  });

  test('a call is laid out as specified', () => {
    const bytes = encodeMessage({ type: 'call', serial: 1, path: '/a', member: 'M', signature: 'u', body: [5] });
    const wanted = `6c 01 00 01 04000000 01000000 27000000
      01 01 6f 00 02000000 2f6100 0000000000
      03 01 73 00 01000000 4d00 000000000000
      08 01 67 00 01 75 00 00
      05000000`;
    // The last field ends the array at byte 39 of it; the header is padded to 8 from there.
    expect(hex(bytes)).toBe(wanted.replaceAll(/\s/g, ''));
  });

  const valid = encodeMessage({ type: 'return', serial: 2, replySerial: 1, body: [] });
  const changed = (at: number, byte: number): Buffer => {
    const copy = Buffer.from(valid);
    copy[at] = byte;
    return copy;
  };

  test('a message of an unknown type is ignored; other protocols, lengths and types of header fields are refused', () => {
    expect(decodeMessage(changed(1, 9))).toBeUndefined();
    expect(() => decodeMessage(changed(3, 2))).toThrow(/version 2/);
    expect(() => messageLength(changed(0, 0x41))).toThrow(DBusFormatError);
    expect(() => messageLength(changed(7, 0x10))).toThrow(/128 MiB/);
    expect(() => decodeMessage(changed(18, 's'.charCodeAt(0)))).toThrow(DBusFormatError);
  });

  test('a header field of another code is ignored, whatever it holds', () => {
    expect(decodeMessage(changed(16, 200))).toEqual({ type: 'return', serial: 2, body: [] });
  });

  test('any one byte of a message may be wrong: it is read, or refused', () => {
    fc.assert(
      fc.property(message, fc.nat(), integer(0, 255), (one, at, byte) => {
        const bytes = encodeMessage(one);
        bytes[at % bytes.length] = byte;
        try {
          if (messageLength(bytes) === bytes.length) decodeMessage(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(DBusFormatError);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

test('an error reply has the errno that says the same, where there is one', () => {
  const codeOf = (name: string): string | undefined => new DBusError(name, 'x').code;
  expect(codeOf('org.freedesktop.systemd1.NoSuchUnit')).toBe('ENOENT');
  expect(codeOf('System.Error.ENXIO')).toBe('ENXIO');
  expect(codeOf('System.Error.Nonsense')).toBeUndefined();
  expect(codeOf('com.example.Other')).toBeUndefined();
  expect(new DBusError('com.example.Other', 'no').message).toBe('no (com.example.Other)');
});
