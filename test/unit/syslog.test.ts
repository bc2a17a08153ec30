import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseSyslog, SEVERITIES } from '#src/spec/syslog.js';
import { PURE_V2 } from '../lib/facts.js';
import { at, hostStepOf, planOf, unprivileged } from './kit.js';

const parse = (text: string) => parseSyslog(Buffer.from(text));

describe('ENV-27: messages of syslog(3)', () => {
  test.each([
    ['<27>Nov 24 03:22:41 cron[12]: ran', 'daemon', 'err', 'cron', 12, 'ran'],
    ['<13>Nov  4 03:22:41 root: hello: you', 'user', 'notice', 'root', null, 'hello: you'],
    ['<0>Oops', 'kern', 'emerg', null, null, 'Oops'],
    ['<191>x', 'local7', 'debug', null, null, 'x'],
    // No priority, or one that there is not, is user.notice, and part of the text.
    ['plain words', 'user', 'notice', null, null, 'plain words'],
    ['<192>x', 'user', 'notice', null, null, '<192>x'],
    ['<9999>x', 'user', 'notice', null, null, '<9999>x'],
    ['<13>tag:\ttext\n\0', 'user', 'notice', 'tag', null, '\ttext'],
    ['<13>', 'user', 'notice', null, null, ''],
    ['', 'user', 'notice', null, null, ''],
    ['<13>two\nlines\u001b[2J', 'user', 'notice', null, null, 'two\ufffdlines\ufffd[2J'],
    ['<13>a\u001b: b', 'user', 'notice', 'a\ufffd', null, 'b'],
  ] as const)('%j', (text, facility, severity, tag, claimedPid, message) => {
    expect(parse(text)).toEqual({ facility, severity, tag, claimedPid, message });
  });

  test('of any bytes: a line without control characters', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), bytes => {
        const { severity, tag, message } = parseSyslog(bytes);
        expect(SEVERITIES).toContain(severity);
        expect(`${tag}${message}`).toMatch(/^[^\u0000-\u0008\u000a-\u001f\u007f-\u009f]*$/);
      }),
    );
  });
});

test('ENV-27: a link to the socket of journald where the image has systemd, else a socket, each by its own sign', () => {
  const plan = planOf(unprivileged(), PURE_V2);
  expect(hostStepOf(plan, 'devices.log.journal')).toMatchObject({
    action: { path: 'log', target: '/run/systemd/journal/dev-log', uid: 1_000_000 },
    needs: 'is:init.has-journal',
  });
  expect(hostStepOf(plan, 'devices.log')).toMatchObject({
    action: { op: 'datagram.bind', name: 'log', mode: 0o666, uid: 1_000_000, descriptors: 'refused' },
    needs: 'is:init.lacks-journal',
  });
  for (const id of ['devices.log', 'devices.log.journal']) {
    expect(at(plan, 'mounting.init.detect')).toBeLessThan(at(plan, id));
    expect(at(plan, id)).toBeLessThan(at(plan, 'devices.attach'));
  }
  expect(plan.exports).toContain('fd:syslog');
});
