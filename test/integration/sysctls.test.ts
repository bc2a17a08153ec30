/** Sysctls of a container's own namespaces (HST-60). */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { MODES, useRig } from '../lib/rig.ts';

const rig = useRig();
const FILES = ['net/ipv4/ip_forward', 'net/core/somaxconn', 'kernel/hostname', 'kernel/domainname', 'kernel/msgmax'];
const host = (): string[] => FILES.map(file => readFileSync(`/proc/sys/${file}`, 'utf8'));

describe.each(MODES)('%s', mode => {
  test("HST-60: the values are the container's, and the host's stay as they are", async () => {
    const before = host();
    const { lines } = await rig.run({
      mode,
      sysctls: {
        'net.ipv4.ip_forward': 1,
        'net.core.somaxconn': '777',
        'net.ipv4.conf.lo.rp_filter': 2,
        'kernel.hostname': 'by-sysctl',
        'kernel.domainname': 'example.org',
        'kernel.msgmax': 12_345,
        'kernel.sem': '250 32000 32 99',
        'fs.mqueue.msg_max': 11,
      },
      script: `cd /proc/sys; for f in ${FILES.join(' ')} net/ipv4/conf/lo/rp_filter kernel/sem fs/mqueue/msg_max; do cat $f; done; hostname`,
    });
    expect(lines).toEqual([
      '1',
      '777',
      'by-sysctl',
      'example.org',
      '12345',
      '2',
      '250\t32000\t32\t99',
      '11',
      'by-sysctl',
    ]);
    expect(host()).toEqual(before);
  });

  test('HST-60: the sysctl of a host is refused before anything is made, a bad value by the kernel', async () => {
    await expect(rig.create({ mode, sysctls: { 'kernel.panic': 1 } })).rejects.toMatchObject({
      code: 'SPEC_INVALID',
      field: 'sysctls.kernel.panic',
    });
    const sysctls = { 'net.core.somaxconn': 'many' };
    await expect(rig.start({ mode, init: '/bin/true', sysctls })).rejects.toMatchObject({
      code: 'STEP_FAILED',
      errno: 'EINVAL',
      step: { id: 'running.sysctl.net.core.somaxconn' },
    });
  });
});
