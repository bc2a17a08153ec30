/** The pool's one worker module: every task is a plain request, every answer plain data. */
import type { HostFacts } from '../plan/facts.js';
import { asCaissonError, type ErrorJSON } from '../spec/errors.js';
import { type ExecuteRequest, type ExecuteResult, execute } from './execute.js';
import { gatherFacts } from './facts.js';
import { countOomKills } from './host/oom.js';
import { type JoinRequest, join } from './join.js';
import { type SignalChoice, type SignalRequest, signalInit } from './signal.js';
import { type StartRequest, type StartResult, start } from './start.js';
import { collectStats, type StatsRequest, type StatsResult } from './stats.js';
import { prepareThread } from './thread.js';

prepareThread();

export type TaskRequest =
  | ({ readonly task: 'start' } & StartRequest)
  | ({ readonly task: 'join' } & JoinRequest)
  | ({ readonly task: 'execute' } & ExecuteRequest)
  /** Nothing: answered once the thread has loaded this module. */
  | { readonly task: 'load' }
  | { readonly task: 'oom'; readonly files: readonly string[] }
  | { readonly task: 'facts'; readonly prefix: string }
  | ({ readonly task: 'stats' } & StatsRequest)
  | ({ readonly task: 'signal' } & SignalRequest);

export type TaskAnswer =
  | { readonly value: StartResult | undefined | ExecuteResult | HostFacts | SignalChoice | StatsResult | number }
  | { readonly error: ErrorJSON };

/** Errors travel as data: own fields of a thrown error do not survive the trip between threads. */
export default function run(request: TaskRequest): TaskAnswer {
  try {
    switch (request.task) {
      case 'start':
        return { value: start(request) };
      case 'join':
        return { value: join(request) };
      case 'load':
        return { value: 0 };
      case 'oom':
        return { value: countOomKills(request.files) };
      case 'execute':
        return { value: execute(request) };
      case 'facts':
        return { value: gatherFacts(request.prefix) };
      case 'stats':
        return { value: collectStats(request) };
      case 'signal':
        return { value: signalInit(request) };
    }
  } catch (error) {
    return { error: asCaissonError(error).toJSON() };
  }
}
