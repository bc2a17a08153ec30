/** The text of sd_notify messages (LIF-37, LIF-38): what is taken from them, and that hostile ones do no harm. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { NOTHING_TOLD, NOTIFY_SIZE, parseNotify, shutdownOf, signalsLevel, tell } from '#src/spec/notify.js';

const parse = (text: string | Buffer): ReturnType<typeof parseNotify> => parseNotify(Buffer.from(text));
const told = (...messages: string[]) =>
  messages.reduce((state, message) => tell(state, parse(message) ?? {}), NOTHING_TOLD);

describe('LIF-38: fields', () => {
  test.each([
    ['READY=1', { READY: '1' }],
    ['READY=1\nSTATUS=Up and running\n', { READY: '1', STATUS: 'Up and running' }],
    [
      'STOPPING=1\nRELOADING=1\nERRNO=2\nEXIT_STATUS=3\nWATCHDOG=trigger',
      {
        STOPPING: '1',
        RELOADING: '1',
        ERRNO: '2',
        EXIT_STATUS: '3',
        WATCHDOG: 'trigger',
      },
    ],
    [
      'X_SYSTEMD_HOSTNAME=web\nX_SYSTEMD_MACHINE_ID=0123456789abcdef0123456789abcdef',
      {
        X_SYSTEMD_HOSTNAME: 'web',
        X_SYSTEMD_MACHINE_ID: '0123456789abcdef0123456789abcdef',
      },
    ],
    ['STATUS=a=b', { STATUS: 'a=b' }],
    ['STATUS=', { STATUS: '' }],
    ['STATUS=naïve — 日本', { STATUS: 'naïve — 日本' }],
    ['STATUS=one\nSTATUS=two', { STATUS: 'two' }],
    ['\n\nREADY=1\n\n', { READY: '1' }],
    ['FDSTORE=1\nWHATEVER_THIS_IS=x', { FDSTORE: '1', WHATEVER_THIS_IS: 'x' }],
  ])('%j', (text, fields) => {
    expect(parse(text)).toEqual(fields);
  });

  test('MAINPID is nothing that a container may say', () => {
    expect(parse('MAINPID=1')).toBeUndefined();
    expect(parse('MAINPID=1\nMAINPIDFDID=2\nREADY=1')).toEqual({ READY: '1' });
  });

  test('the last value of each is kept, and readiness follows READY and STOPPING', () => {
    const state = told(
      'STATUS=booting',
      'X_SYSTEMD_SIGNALS_LEVEL=2',
      'READY=1\nSTATUS=up',
      'X_SYSTEMD_UNIT_ACTIVE=a.target',
    );
    expect(state).toEqual({
      ready: true,
      status: 'up',
      fields: { STATUS: 'up', X_SYSTEMD_SIGNALS_LEVEL: '2', READY: '1', X_SYSTEMD_UNIT_ACTIVE: 'a.target' },
    });
    expect(told('READY=1', 'STOPPING=1').ready).toBe(false);
    expect(told('READY=1', 'RELOADING=1').ready).toBe(true);
    expect(told('READY=0').ready).toBe(false);
  });

  test('the level of signals is a number of at most four digits', () => {
    expect(signalsLevel(NOTHING_TOLD)).toBe(0);
    expect(signalsLevel(told('X_SYSTEMD_SIGNALS_LEVEL=2'))).toBe(2);
    for (const text of ['', '-1', '2x', '1e9', '99999']) {
      expect(signalsLevel(told(`X_SYSTEMD_SIGNALS_LEVEL=${text}`)), text).toBe(0);
    }
  });

  test('LIF-19: the kind of shutdown is one of those that systemd has', () => {
    for (const kind of ['reboot', 'halt', 'poweroff', 'kexec'])
      expect(shutdownOf(told(`X_SYSTEMD_SHUTDOWN=${kind}`))).toBe(kind);
    expect(shutdownOf(told('X_SYSTEMD_SHUTDOWN=fireworks'))).toBeUndefined();
    expect(shutdownOf(NOTHING_TOLD)).toBeUndefined();
  });
});

describe('LIF-37: hostile messages', () => {
  test.each([
    ['empty', ''],
    ['no assignment', 'hello'],
    ['no name', '=1'],
    ['a name in small letters', 'ready=1'],
    ['a name with blanks', 'READY =1'],
    ['a long name', `${'A'.repeat(65)}=1`],
    ['a NUL inside', 'READY=1\0STATUS=x'],
    ['nothing but NUL', '\0\0\0'],
  ])('%s: nothing', (_, text) => {
    expect(parse(text)).toBeUndefined();
  });

  test('a trailing NUL does not matter', () => {
    expect(parse('READY=1\0')).toEqual({ READY: '1' });
  });

  test('4096 bytes are read, one more are not', () => {
    const fits = `STATUS=${'x'.repeat(NOTIFY_SIZE - 7)}`;
    expect(parse(fits)?.STATUS).toHaveLength(NOTIFY_SIZE - 7);
    expect(parse(`${fits}x`)).toBeUndefined();
  });

  test('a line that is not UTF-8 is lost, the others are not', () => {
    expect(parse(Buffer.from('STATUS=\xff\xfe\nREADY=1\nX=\xc3', 'latin1'))).toEqual({ READY: '1' });
  });

  test('a line that would move a cursor is lost', () => {
    expect(parse('STATUS=\u001b[2J\nREADY=1')).toEqual({ READY: '1' });
    expect(parse('STATUS=\u009b2J')).toBeUndefined();
    expect(parse('STATUS=a\tb')).toEqual({ STATUS: 'a\tb' });
  });

  test('no more than 64 lines of a message count', () => {
    const many = Array.from({ length: 1000 }, (_, index) => `K${index.toString(36).toUpperCase()}=`).join('\n');
    expect(many.length).toBeLessThan(NOTIFY_SIZE * 2);
    expect(Object.keys(parse(many.slice(0, NOTIFY_SIZE)) ?? {})).toHaveLength(64);
  });

  test('however much is told, what is kept is bounded, and what matters is kept', () => {
    let state = NOTHING_TOLD;
    for (let index = 0; index < 1000; index++) state = tell(state, { [`K${index}`]: 'x'.repeat(4000) });
    expect(Object.keys(state.fields)).toHaveLength(64);
    state = tell(state, { X_SYSTEMD_SHUTDOWN: 'reboot', READY: '1', K0: 'new', K999: 'late' });
    expect(state.ready).toBe(true);
    expect(shutdownOf(state)).toBe('reboot');
    expect(state.fields.K0).toBe('new');
    expect(state.fields.K999).toBeUndefined();
  });

  test('no bytes make it throw, or yield a name or value that was not sent', () => {
    const noise = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc
        .array(fc.constantFrom('READY', 'STATUS', '=', '\n', '\0', '1', 'é', '__proto__', 'constructor', '\r'), {
          maxLength: 40,
        })
        .map(parts => new Uint8Array(Buffer.from(parts.join('')))),
    );
    fc.assert(
      fc.property(noise, bytes => {
        const text = Buffer.from(bytes).toString();
        for (const [key, value] of Object.entries(parseNotify(bytes) ?? {})) {
          expect(key).toMatch(/^[A-Z_][A-Z0-9_]*$/);
          expect(text).toContain(`${key}=${value}`);
        }
      }),
      { numRuns: 500 },
    );
    expect(Object.prototype).not.toHaveProperty('READY');
  });
});
