/** Executors of the actions of the root file system. */
import type { RootfsAction } from '../../../plan/actions/rootfs.js';
import { type InitSigns, signsOf } from '../../../spec/inits.js';
import { AT, O } from '../../../syscalls/abi/constants.js';
import { openat } from '../../../syscalls/fs.js';
import { cloneTree } from '../../../syscalls/mount.js';
import type { Executors } from '../executors.js';
import { machineUuid } from '../machine-id.js';
import { checkRootfs } from './check.js';
import { identifyInit } from './identify.js';
import { mapOwners } from './idmap.js';
import { openRootfs } from './open.js';
import { makeLayer, overlay } from './overlay.js';

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
  'mount.idmap': (action, context) => mapOwners(context.get(action.mount), context.get(action.userns)),
  'init.detect': (action, context) => {
    const init = action.profile === 'auto' ? identifyInit(context.get(action.root), action.init) : action.profile;
    for (const [sign, holds] of Object.entries(signsOf(init)))
      if (holds) context.set(action.save[sign as keyof InitSigns], 1);
  },
  'machine-id.read': (action, context) => {
    context.texts[action.save] = machineUuid(context.get(action.root)) ?? action.fallback;
  },
};
