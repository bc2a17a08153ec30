/** The table of all routes. */
import type { Route } from '../route.js';
import { actionRoutes } from './actions.js';
import { consoleRoutes } from './console.js';
import { containerRoutes } from './containers.js';
import { eventRoutes } from './events.js';
import { execRoutes } from './exec.js';
import { hostRoutes } from './host.js';
import { startRoutes } from './start.js';
import { statsRoutes } from './stats.js';
import { tokenRoutes } from './tokens.js';

export const ROUTES: readonly Route[] = [
  ...containerRoutes,
  ...actionRoutes,
  ...startRoutes,
  ...consoleRoutes,
  ...execRoutes,
  ...statsRoutes,
  ...eventRoutes,
  ...tokenRoutes,
  ...hostRoutes(() => ROUTES),
];
