/** scripts/images.sh: what the tests that boot distributions rely on. */
import { execFileSync } from 'node:child_process';
import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { IMAGE_TIMEOUT_MS, IMAGES, image } from '../lib/images.ts';

describe.each(IMAGES)('%s', name => {
  test(
    'is the work of its distribution, without a trace of this machine',
    async () => {
      const tree = await image(name);
      const at = (path: string): string => join(tree, path);
      expect(lstatSync(at('sbin/init')).uid).toBe(0);
      expect(readdirSync(at('etc'))).not.toContain('hostname');
      expect(readdirSync(at('etc'))).not.toContain('resolv.conf');
      expect(readdirSync(at('dev'))).toEqual([]);
      expect(readdirSync(at('run'))).toEqual([]);
      expect(readFileSync(at('etc/shadow'), 'utf8')).toMatch(/^root::/m);
      if (name.startsWith('debian-')) {
        expect(readFileSync(at('etc/machine-id'), 'utf8')).toBe('');
        // Not one unit is masked.
        expect(execFileSync('find', [at('etc'), '-lname', '/dev/null'], { encoding: 'utf8' })).toBe('');
      }
      // Nothing is half installed.
      expect(execFileSync('dpkg', ['--root', tree, '--audit'], { encoding: 'utf8' })).toBe('');
    },
    IMAGE_TIMEOUT_MS,
  );
});

test('a tree is built once, and asking for it again costs nothing', async () => {
  const tree = await image('s6');
  const made = lstatSync(tree).ino;
  const begun = performance.now();
  expect(await Promise.all([image('s6'), image('s6')])).toEqual([tree, tree]);
  expect(performance.now() - begun).toBeLessThan(5000);
  expect(lstatSync(tree).ino).toBe(made);
});

test('a name that is no image is refused', async () => {
  await expect(image('debian-1' as never)).rejects.toThrow('there is no debian-1');
});
