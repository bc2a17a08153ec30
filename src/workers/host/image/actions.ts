/** Executors of the actions of images. */
import type { ImageAction } from '../../../plan/actions/image.js';
import { CaissonError } from '../../../spec/errors.js';
import { retryFor } from '../../sleep.js';
import type { Executors } from '../executors.js';
import { attachImage } from './attach.js';
import { loops } from './loops.js';
import { mountImage } from './mount.js';
import { openImage } from './open.js';

export const IMAGE_ACTIONS: Executors<ImageAction> = {
  'image.open': (action, context) => {
    const { file, type } = openImage(action);
    context.set(action.save.file, file);
    context.texts[action.save.type] = type;
  },
  'image.attach': (action, context) => {
    const { device, path } = attachImage(context.get(action.file), action);
    context.set(action.save.device, device);
    context.texts[action.save.name] = path;
  },
  'image.mount': (action, context) =>
    context.set(action.save, mountImage(context.text(action.device), context.text(action.type), action)),
  'image.released': ({ label, timeoutMs }) => {
    // One that is read only bears the name of who made it, also while others share it: it is not waited for.
    if (retryFor(timeoutMs, () => loops().every(({ name, readOnly }) => readOnly || name !== label))) return;
    throw new CaissonError('TIMEOUT', `the image of ${label} is still in use after ${timeoutMs} ms`, {
      hint: 'a process outside the container may have its root open: losetup and fuser tell which',
    });
  },
};
