/** Programs in running containers. */
import * as v from 'valibot';
import { argument, object, text, whole } from '../../spec/schema/values.js';
import type { ExecOptions } from '../../supervisor/exec-options.js';
import { route } from '../route.js';

export const user = v.union(
  [whole(0), text, object({ uid: whole(0), gid: v.optional(whole(0)), groups: v.optional(v.array(whole(0))) })],
  'must be a uid, a name, or an object with uid, gid and groups',
);
const base64 = v.pipe(text, v.regex(/^[A-Za-z0-9+/]*={0,2}$/, 'must be Base64'));
const MOST = 16 * 1024 * 1024;

export const execRoutes = [
  route({
    method: 'POST',
    path: '/v1/containers/{name}/exec',
    id: 'execContainer',
    summary: 'Run a program to its end; it is killed when the caller goes',
    scope: 'admin',
    body: object({
      argv: v.array(argument, 'must be a list of strings'),
      env: v.optional(v.record(text, text)),
      cwd: v.optional(text),
      user: v.optional(user),
      stdin: v.optional(base64),
      limit: v.optional(whole(1, MOST)),
    }),
    answer: 'stdout and stderr in Base64, and how it ended',
    async handle({ supervisor }, { name, body, signal }) {
      const { argv, stdin, limit = MOST, ...options } = body;
      const program = await supervisor.get(name).exec(argv, { ...options, signal } as ExecOptions);
      if (stdin !== undefined) program.stdin?.write(Buffer.from(stdin, 'base64'));
      const { stdout, stderr, exit } = await program.output(limit);
      return { stdout: stdout.toString('base64'), stderr: stderr.toString('base64'), exit };
    },
  }),
];
