/** Executors of the actions of the root file system. */
import type { RootfsAction } from '../../../plan/actions/rootfs.js';
import { type InitSigns, signsOf } from '../../../spec/inits.js';
import { AT, O } from '../../../syscalls/abi/constants.js';
import { openat } from '../../../syscalls/fs.js';
import { cloneTree } from '../../../syscalls/mount.js';
import type { Executors } from '../executors.js';
import { machineUuid } from '../machine-id.js';
import { checkRootfs } from './check.js';
import { chosenInit } from './find-init.js';
import { identifyInit } from './identify.js';
import { mapOwners } from './idmap.js';
import { openRootfs } from './open.js';
import { makeLayer, overlay } from './overlay.js';
import { mountsRun } from './run-mount.js';
import { shiftTo, unshift } from './shift/shift.js';

export const ROOTFS_ACTIONS: Executors<RootfsAction> = {
  'rootfs.open': (action, context) => context.set(action.save, openRootfs(action.path)),
  'rootfs.check': (action, context) => {
    context.notices.push(...checkRootfs(context.get(action.dir), action));
  },
  'rootfs.clone': (action, context) => context.set(action.save, cloneTree(context.get(action.dir), '')),
  'layer.make': (action, context) => {
    if (!makeLayer(action.path)) context.set(action.save, 1);
  },
  'rootfs.overlay': (action, context) => context.set(action.save, overlay(context.get(action.lower), action)),
  'userns.open': (action, context) =>
    context.set(action.save, openat(AT.AT_FDCWD, `/proc/${context.get(action.pid)}/ns/user`, O.O_RDONLY)),
  'mount.idmap': ({ mount, userns, otherwise }, context) =>
    mapOwners(context.get(mount), context.get(userns), otherwise),
  'rootfs.shift': (action, context) => shiftTo(context.get(action.dir), action),
  'rootfs.unshift': action => unshift(action.path, action),
  'init.detect': (action, context) => {
    const root = context.get(action.root);
    const init = action.profile === 'auto' ? identifyInit(root, chosenInit(root, action.init)) : action.profile;
    // systemd leaves a /run that it finds; so do most, but not every script of a user's own.
    const hides = init === 'systemd' || init === 'unknown' ? undefined : mountsRun(root);
    if (hides !== undefined) {
      const message = `may-be-hidden: /${hides} of the image mounts a /run of its own, over the one with /run/host in it`;
      context.notices.push({ code: 'run-host', message });
    }
    for (const [sign, holds] of Object.entries(signsOf(init)))
      if (holds) context.set(action.save[sign as keyof InitSigns], 1);
  },
  'init.find': (action, context) => {
    context.texts[action.save] = chosenInit(context.get(action.root), 'auto');
  },
  'machine-id.read': (action, context) => {
    const own = machineUuid(context.get(action.root));
    context.texts[action.save] = own ?? action.fallback;
    if (own === undefined || own !== action.host) return;
    const message = "the image's machine id is the host's, from which it was copied: it should be emptied in the image";
    context.notices.push({ code: 'machine-id-host', message });
  },
};
