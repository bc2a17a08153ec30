import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { asCaissonError, CaissonError, ERROR_CODES, type ErrorJSON } from '#src/spec/errors.js';

const STEP = {
  id: 'mounting.proc',
  phase: 'mounting',
  label: 'proc',
  executor: 'init' as const,
  operands: 'mount(source=proc)',
};

describe('CaissonError', () => {
  test('is an Error with a name, a code and a stack', () => {
    const error = new CaissonError('TIMEOUT', 'too slow');
    expect(error).toBeInstanceOf(Error);
    expect({ name: error.name, code: error.code, message: error.message }).toEqual({
      name: 'CaissonError',
      code: 'TIMEOUT',
      message: 'too slow',
    });
    expect(error.stack).toContain('CaissonError: too slow');
    expect(String(error)).toBe('CaissonError: too slow');
  });

  test('carries its details, and its cause as any Error does', () => {
    const cause = new TypeError('below');
    const error = new CaissonError('STEP_FAILED', 'above', {
      field: 'f',
      step: STEP,
      errno: 'ENOENT',
      hint: 'h',
      cause,
    });
    expect(error).toMatchObject({ field: 'f', step: STEP, errno: 'ENOENT', hint: 'h' });
    expect(error.cause).toBe(cause);
    expect('cause' in new CaissonError('INTERNAL', 'x')).toBe(false);
  });

  test('codes are unique and in capitals', () => {
    expect(new Set(ERROR_CODES).size).toBe(ERROR_CODES.length);
    for (const code of ERROR_CODES) expect(code).toMatch(/^[A-Z][A-Z0-9_]+$/);
  });
});

describe('toJSON and from', () => {
  const text = fc.string();
  const details = fc.record(
    {
      field: text,
      errno: fc.constantFrom('ENOENT', 'EPERM'),
      hint: text,
      step: fc.record({
        id: text,
        phase: text,
        label: text,
        executor: fc.constantFrom('host' as const, 'init' as const),
        operands: text,
      }),
      cause: fc.oneof(
        text,
        text.map(message => new Error(message)),
      ),
      cleanupErrors: fc.array(fc.record({ code: text, message: text }), { maxLength: 2 }),
    },
    { requiredKeys: [] },
  );

  test('nothing is lost on the way through JSON or a structured clone', () => {
    fc.assert(
      fc.property(fc.constantFrom(...ERROR_CODES), text, details, (code, message, rest) => {
        const error = new CaissonError(code, message, rest);
        const json = error.toJSON();
        for (const copy of [JSON.parse(JSON.stringify(error)) as ErrorJSON, structuredClone(json)]) {
          expect(copy).toEqual(json);
          const back = CaissonError.from(copy);
          expect(back.toJSON()).toEqual(json);
          expect({ ...back }).toEqual({ ...error });
          expect(CaissonError.is(back)).toBe(true);
        }
      }),
    );
  });

  test('JSON has a key only for what is known', () => {
    expect(Object.keys(new CaissonError('BUSY', 'm').toJSON())).toEqual(['code', 'message']);
  });

  test('a cause becomes its text', () => {
    expect(new CaissonError('BUSY', 'm', { cause: new RangeError('deep') }).toJSON().cause).toBe('RangeError: deep');
  });

  test('a code this version does not know becomes INTERNAL, the message stays', () => {
    expect(CaissonError.from({ code: 'FROM_THE_FUTURE', message: 'm' })).toMatchObject({
      code: 'INTERNAL',
      message: 'm',
    });
    expect(CaissonError.from({ code: 'toString', message: 'm' }).code).toBe('INTERNAL');
  });
});

describe('the brand', () => {
  test('tells ours from others', () => {
    expect(CaissonError.is(new CaissonError('BUSY', 'm'))).toBe(true);
    for (const other of [new Error('m'), { code: 'BUSY', message: 'm' }, null, undefined, 'BUSY', 5, () => 0]) {
      expect(CaissonError.is(other)).toBe(false);
    }
  });

  test('holds for an error of another copy of the package', async () => {
    const path = '../../dist/spec/errors.js?another-copy';
    const other = (await import(path)) as { CaissonError: typeof CaissonError };
    expect(other.CaissonError).not.toBe(CaissonError);
    const error = new other.CaissonError('BUSY', 'm');
    expect(error).not.toBeInstanceOf(CaissonError);
    expect(CaissonError.is(error)).toBe(true);
    expect(asCaissonError(error)).toBe(error);
  });

  test('does not show up in JSON or among the keys', () => {
    const error = new CaissonError('BUSY', 'm');
    expect(Object.getOwnPropertySymbols(JSON.parse(JSON.stringify(error)))).toEqual([]);
    expect(Object.keys(error)).not.toContain('caisson.error');
  });
});

describe('asCaissonError', () => {
  test('leaves ours alone, wraps the rest with the code asked for', () => {
    const ours = new CaissonError('BUSY', 'm');
    expect(asCaissonError(ours, 'TIMEOUT')).toBe(ours);
    const cause = new Error('plain');
    expect(asCaissonError(cause, 'TIMEOUT')).toMatchObject({ code: 'TIMEOUT', message: 'plain', cause });
    expect(asCaissonError('text')).toMatchObject({ code: 'INTERNAL', message: 'text', cause: 'text' });
    expect(asCaissonError(undefined).message).toBe('undefined');
  });
});
