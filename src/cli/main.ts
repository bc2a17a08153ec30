#!/usr/bin/env node
/** The command line. Each command loads what it needs when it runs, so that `--help` stays quick. */
import process from 'node:process';
import { Command, Option } from 'commander';
import { registerCommands } from './commands/register.js';
import { printError } from './error.js';
import { OWN_FAILURE } from './exit-code.js';
import {
  count,
  DEFAULT_SOCKET,
  DEFAULT_STATE,
  describing,
  milliseconds,
  needRootfs,
  path,
  repeated,
  variable,
} from './options.js';
import { VERSION } from './version.js';

const program = new Command('caisson')
  .description('Run and supervise Linux system containers')
  .version(VERSION)
  .showHelpAfterError('  hint: see caisson --help')
  .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'caisson: ')) })
  .exitOverride(error => process.exit(error.exitCode === 0 ? 0 : OWN_FAILURE));

describing(program.command('run'))
  .description("start a container in the foreground, its console on this terminal; ends with the payload's exit code")
  .option('--rm', 'remove the container when it has ended')
  .addOption(
    new Option('--stop-timeout <seconds>', 'how long PID 1 is given when this command is told to end')
      .argParser(milliseconds)
      .default(10_000, '10'),
  )
  .addHelpText(
    'after',
    "\nPress ^] three times within a second to kill the container.\nExit codes: the payload's own; 128+n when PID 1 died of signal n; 125 when Caisson failed, 126 or 127 when PID 1 could not be executed or found.",
  )
  .action(async (rootfs: string | undefined, args: string[], options, command: Command) => {
    needRootfs(rootfs, options, command);
    const { run } = await import('./run.js');
    process.exitCode = await run(rootfs, args, options);
  });

describing(program.command('explain'))
  .description('print what a start would do, step by step; nothing is touched')
  .option('--json', 'as JSON')
  .action(async (rootfs: string | undefined, args: string[], options, command: Command) => {
    needRootfs(rootfs, options, command);
    const { explainCommand } = await import('./explain.js');
    await explainCommand(rootfs, args, options);
  });

program
  .command('exec')
  .description('run a program in a container that runs, on the standard streams of this command')
  .showHelpAfterError('  hint: see caisson exec --help')
  .argument('<name>', 'name of the container')
  .argument('<program...>', 'program and its arguments (after --); looked up in PATH inside')
  .option('-t, --tty', 'a terminal inside, in place of three streams')
  .option('-i, --interactive', 'pass standard input on')
  .option('-u, --user <user>', 'user inside: a name or uid, or with a group user:group; default: root')
  .option('-w, --workdir <dir>', 'directory inside; default: /', path)
  .option('-e, --env <NAME=VALUE>', 'variable for the program; may be repeated', variable)
  .option('--state <dir>', 'state directory', path, DEFAULT_STATE)
  .addHelpText(
    'after',
    "\nExit codes: the program's own; 128+n when it died of signal n; 125 when Caisson failed, 126 or 127 when the program could not be executed or found.",
  )
  .action(async (name: string, args: string[], options) => {
    const { execCommand } = await import('./exec.js');
    process.exitCode = await execCommand(name, args, options);
  });

program
  .command('inspect')
  .description('show what a container is, how it is, and what its last start did without')
  .showHelpAfterError('  hint: see caisson inspect --help')
  .argument('<name>', 'name of the container')
  .option('--json', 'as JSON, with the times of each step')
  .option('--state <dir>', 'state directory', path, DEFAULT_STATE)
  .action(async (name: string, options) => {
    const { inspectCommand } = await import('./inspect.js');
    await inspectCommand(name, options);
  });

program
  .command('daemon')
  .description('supervise the containers of a state directory, and be called over HTTP')
  .showHelpAfterError('  hint: see caisson daemon --help')
  .option('--state <dir>', 'state directory', path, DEFAULT_STATE)
  .option('--socket <path>', 'Unix socket to listen at', path, DEFAULT_SOCKET)
  .option('--listen <host:port>', 'TCP address to listen at, besides')
  .option('--host <name>', 'name by which it is called over TCP; may be repeated', repeated)
  .option('--tls-cert <file>', 'certificate chain for TCP, in PEM', path)
  .option('--tls-key <file>', 'its key, in PEM', path)
  .option('--autostart', 'start what is to run when the host has come up')
  .addOption(
    new Option('--log-level <level>', 'how much is logged, in JSON on standard error')
      .choices(['debug', 'info', 'warn', 'error', 'silent'])
      .default('info'),
  )
  .action(async options => {
    const { daemonCommand } = await import('./daemon.js');
    await daemonCommand(options);
  });

program
  .command('logs')
  .description('print what the console of a container has printed')
  .showHelpAfterError('  hint: see caisson logs --help')
  .argument('<name>', 'name of the container')
  .option('-f, --follow', 'go on with what is printed from now on')
  .addOption(new Option('--tail <lines>', 'only the last lines').argParser(count).conflicts('since'))
  .option('--since <offset>', 'begin at this byte of all that was ever printed', count)
  .option('--state <dir>', 'state directory', path, DEFAULT_STATE)
  .action(async (name: string, options) => {
    const { logsCommand } = await import('./logs.js');
    await logsCommand(name, options);
  });

registerCommands(program);

// What nobody foresaw: the container runs on, as after any death of its supervisor, and the terminal is given back.
process.on('uncaughtException', error => {
  const exitCode = printError(error);
  process.stderr.write('', () => process.exit(exitCode));
});

program.parseAsync().catch((error: unknown) => {
  process.exitCode = printError(error);
});
