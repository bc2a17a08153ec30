/** The commands that ask the daemon where there is one, and work without it where there is none. */
import { type Command, Option } from 'commander';
import { count, DEFAULT_STATE, describing, milliseconds, needRootfs, path, repeated } from '../options.js';
import type { ActionName } from './act.js';

const TIMEOUT = '--timeout <seconds>';
const AFTER = '\nExit codes: 0; 1 when it failed for a container; 125 when Caisson failed.';

function placed(command: Command): Command {
  return command
    .showHelpAfterError(`  hint: see caisson ${command.name()} --help`)
    .option(
      '--socket <path>',
      'Unix socket of the daemon; default: the usual one, if it has this state directory',
      path,
    )
    .option('--state <dir>', 'state directory', path, DEFAULT_STATE);
}

interface ActionWords {
  readonly command: string;
  readonly action: ActionName;
  readonly description: string;
  readonly timeout?: string;
  readonly force?: string;
}

const GIVEN = 'how long PID 1 is given; default: 600';

const ACTIONS: readonly ActionWords[] = [
  { command: 'start', action: 'start', description: 'start containers' },
  {
    command: 'stop',
    action: 'stop',
    description: 'ask PID 1 to halt, and kill it after the timeout',
    timeout: GIVEN,
    force: 'kill at once',
  },
  {
    command: 'restart',
    action: 'restart',
    description: 'stop, then start',
    timeout: GIVEN,
    force: 'kill at once',
  },
  {
    command: 'reboot',
    action: 'reboot',
    description: 'ask PID 1 to reboot',
    timeout: GIVEN,
    force: 'after the timeout kill it, and start again',
  },
  { command: 'kill', action: 'kill', description: 'kill PID 1, and with it all processes inside' },
  { command: 'freeze', action: 'freeze', description: 'stop every process inside' },
  { command: 'unfreeze', action: 'unfreeze', description: 'let them go on' },
  { command: 'wait', action: 'wait', description: 'wait for the end, and print the exit code that run would have' },
  { command: 'rm', action: 'remove', description: 'remove containers that have ended, with all that belongs to them' },
];

export function registerCommands(program: Command): void {
  placed(program.command('ls'))
    .description('list the containers')
    .option('--columns <names>', 'name, state, pid, restarts, exit, ids, rootfs', 'name,state,pid,restarts,exit')
    .option('--sort <column>', 'sort by a column')
    .option('--filter <states>', 'only those in these states: running,failed')
    .option('--json', 'as JSON')
    .option('-q, --quiet', 'names alone')
    .action(async options => {
      const { listCommand } = await import('./list.js');
      await listCommand(options);
    });

  describing(program.command('create'))
    .description('record a container that does not run yet; prints its name')
    .addOption(
      new Option(
        '--socket <path>',
        'Unix socket of the daemon; default: the usual one, if it has this state directory',
      ).argParser(path),
    )
    .addHelpText('after', AFTER)
    .action(async (rootfs: string | undefined, args: string[], options, command: Command) => {
      needRootfs(rootfs, options, command);
      const { createCommand } = await import('./act.js');
      await createCommand(rootfs, args, options);
    });

  for (const { command: name, action, description, timeout, force } of ACTIONS) {
    const command = placed(program.command(name))
      .description(description)
      .argument('<name...>', 'names of containers')
      .addHelpText('after', AFTER);
    if (timeout !== undefined) command.option(TIMEOUT, timeout, milliseconds);
    if (force !== undefined) command.option('--force', force);
    command.action(async (names: string[], options) => {
      const { actCommand } = await import('./act.js');
      await actCommand(action, names, options);
    });
  }

  placed(program.command('events'))
    .description('print what happens, as it happens')
    .option('--since <seq>', 'begin after the event of this number; default: what comes', count)
    .option('--container <name>', 'only those of this container; may be repeated', repeated)
    .option('--json', 'each event as a line of JSON')
    .action(async options => {
      const { eventsCommand } = await import('./events.js');
      await eventsCommand(options);
    });

  placed(program.command('stats'))
    .description('show what containers that run use')
    .argument('[name...]', 'names of containers; default: all that run')
    .option('--watch', 'again each second, with rates')
    .option('--json', 'as JSON; with --watch a line each second')
    .action(async (names: string[], options) => {
      const { statsCommand } = await import('./stats.js');
      await statsCommand(names, options);
    });

  placed(program.command('timeline'))
    .description('show each step of the last start with its times')
    .argument('<name>', 'name of the container')
    .option('--json', 'as JSON, times in ns')
    .action(async (name: string, options) => {
      const { timelineCommand } = await import('./timeline.js');
      await timelineCommand(name, options);
    });
}
