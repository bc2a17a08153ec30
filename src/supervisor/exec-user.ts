/** Who a user is inside, by the container's own /etc/passwd and /etc/group: files that the payload may have written. */
import { CaissonError } from '../spec/errors.js';

export const USER_FILES = ['etc/passwd', 'etc/group'] as const;

export interface FoundUser {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
  readonly name: string | null;
  readonly home: string;
}

/** What setgroups(2) takes is more, but nobody is in so many. */
const MOST_GROUPS = 1024;
const LONGEST_HOME = 4096;

/** Lines of colon-separated fields (passwd(5), group(5)). A file that was cut off ends in the middle of a line. */
function entries(file: Buffer | null, limit: number): string[][] {
  if (file === null) return [];
  const lines = file.toString('utf8').split('\n');
  if (file.length >= limit) lines.pop();
  return lines.map(line => line.split(':'));
}

function idOf(text: string | undefined, last: number): number | undefined {
  if (text === undefined || !/^\d{1,10}$/.test(text)) return undefined;
  const id = Number(text);
  return id <= last ? id : undefined;
}

function homeOf(text: string | undefined): string {
  return text?.startsWith('/') === true && text.length <= LONGEST_HOME && !text.includes('\0') ? text : '/';
}

/**
 * @param wanted a name, or a uid in digits, which need not be in the file; each may be followed by `:` and a group.
 * @param last the highest id that is mapped. @param limit bytes of a file that was cut off.
 * @throws CaissonError SPEC_INVALID
 */
export function findUser(
  wanted: string,
  files: readonly (Buffer | null)[],
  { last, limit }: { readonly last: number; readonly limit: number },
): FoundUser {
  const [passwd, group] = files.map(file => entries(file, limit));
  const refuse = (message: string): never => {
    throw new CaissonError('SPEC_INVALID', `user: ${message}`, {
      field: 'user',
      hint: 'ids are taken as they are: { uid, gid, groups }',
    });
  };
  const [who = '', which, ...more] = wanted.split(':');
  if (who === '' || which === '' || more.length > 0) refuse('must be a name or a number, or user:group');
  const number = idOf(who, last);
  const found = (passwd ?? []).find(
    ([name, , uid]) =>
      idOf(uid, last) !== undefined && (name === who || (number !== undefined && Number(uid) === number)),
  );
  const uid = number ?? idOf(found?.[2], last) ?? refuse(`there is no user ${who} in /etc/passwd inside`);
  const name = found?.[0] ?? null;
  const home = homeOf(found?.[5]);
  if (which !== undefined) {
    const gid =
      idOf(which, last) ??
      idOf((group ?? []).find(fields => fields[0] === which && idOf(fields[2], last) !== undefined)?.[2], last) ??
      refuse(`there is no group ${which} in /etc/group inside`);
    return { uid, gid, groups: [], name, home };
  }
  const gid = idOf(found?.[3], last) ?? 0;
  const groups = (group ?? []).flatMap(([, , id, members = '']) => {
    const found = idOf(id, last);
    return found !== undefined && name !== null && members.split(',').includes(name) ? [found] : [];
  });
  return { uid, gid, groups: [...new Set(groups)].slice(0, MOST_GROUPS), name, home };
}
