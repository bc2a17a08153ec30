/** NET-33: ids moved from one range to another, in owners, ACLs and file capabilities. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isClear, moved, movedAcl, movedCapability } from '#src/workers/host/rootfs/shift/ids.js';

const there = { from: 0, to: 1_000_000, count: 65_536 };
const back = { from: 1_000_000, to: 0, count: 65_536 };

describe('ids', () => {
  test('move once, and back to what they were', () => {
    expect([0, 1000, 65_535].map(id => moved(id, there))).toEqual([1_000_000, 1_001_000, 1_065_535]);
    fc.assert(
      fc.property(fc.nat(65_535), id => {
        const once = moved(id, there) ?? -1;
        expect(moved(once, there)).toBe(once);
        expect(moved(once, back)).toBe(id);
      }),
    );
  });

  test('of neither range have no place', () => {
    for (const id of [65_536, 999_999, 1_065_536, 0xffff_fffe]) expect(moved(id, there)).toBeUndefined();
  });

  test('of ranges that overlap cannot be told apart', () => {
    expect(isClear(there)).toBe(true);
    expect(isClear({ from: 0, to: 65_536, count: 65_536 })).toBe(true);
    expect(isClear({ from: 0, to: 65_535, count: 65_536 })).toBe(false);
    expect(isClear({ from: 1000, to: 0, count: 65_536 })).toBe(false);
  });
});

test('an ACL: users and groups by id move, nothing else', () => {
  const acl = (user: number, group: number): Buffer => {
    const bytes = Buffer.alloc(4 + 6 * 8);
    bytes.writeUInt32LE(2, 0);
    for (const [index, [tag, id]] of [
      [1, 0xffffffff],
      [2, user],
      [4, 0xffffffff],
      [8, group],
      [16, 0xffffffff],
      [32, 0xffffffff],
    ].entries()) {
      bytes.writeUInt16LE(tag ?? 0, 4 + 8 * index);
      bytes.writeUInt16LE(5, 6 + 8 * index);
      bytes.writeUInt32LE(id ?? 0, 8 + 8 * index);
    }
    return bytes;
  };
  expect(movedAcl(acl(7, 4), there)).toEqual(acl(1_000_007, 1_000_004));
  expect(movedAcl(acl(1_000_007, 1_000_004), there)).toBeUndefined();
  expect(movedAcl(acl(1_000_007, 1_000_004), back)).toEqual(acl(7, 4));
  // Whoever has no id there stays who he is.
  expect(movedAcl(acl(70_000, 4), there)).toEqual(acl(70_000, 1_000_004));
});

describe('capabilities', () => {
  const TWO = Buffer.from('0100000200200000ff0a3d00fe800000aabbccdd', 'hex');
  const three = (root: number): Buffer => {
    const bytes = Buffer.concat([TWO, Buffer.alloc(4)]);
    bytes.writeUInt32LE(0x03000001, 0);
    bytes.writeUInt32LE(root, 20);
    return bytes;
  };

  test("of the host's root become the container's, and back", () => {
    expect(movedCapability(TWO, there)).toEqual(three(1_000_000));
    expect(movedCapability(three(1_000_000), back)).toEqual(TWO);
    expect(movedCapability(three(1_000_000), there)).toEqual(three(1_000_000));
    expect(movedCapability(three(5), there)).toEqual(three(1_000_005));
  });

  test('of a container inside it that has no place stay what they are, as does what is not known', () => {
    expect(movedCapability(three(70_000), there)).toEqual(three(70_000));
    const one = Buffer.from('010000010020000000000000', 'hex');
    expect(movedCapability(one, there)).toEqual(one);
    const four = Buffer.concat([Buffer.from('00000004', 'hex'), TWO.subarray(4)]);
    expect(movedCapability(four, there)).toEqual(four);
  });
});
