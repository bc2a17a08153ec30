/** The one piscina pool. Blocking system calls run here; one task carries many steps. */
import { availableParallelism } from 'node:os';
import { Piscina } from 'piscina';
import type { HostFacts } from '../plan/facts.js';
import { CaissonError } from '../spec/errors.js';
import { shareDumpable } from './dumpable.js';
import type { ExecuteRequest, ExecuteResult } from './execute.js';
import type { JoinRequest } from './join.js';
import type { SignalChoice, SignalRequest } from './signal.js';
import type { StartRequest, StartResult } from './start.js';
import type { StatsRequest, StatsResult } from './stats.js';
import type { TaskAnswer, TaskRequest } from './task.js';

export interface PoolOptions {
  /** Worker threads; by default one a core, at least two, so that one stuck call does not stop the rest. */
  readonly threads?: number;
}

export class WorkerPool {
  private readonly pool: Piscina<TaskRequest, TaskAnswer>;
  /** Settles when every thread has loaded its modules. */
  private readonly loaded: Promise<unknown>;

  constructor(options: PoolOptions = {}) {
    const threads = options.threads ?? Math.max(2, availableParallelism());
    shareDumpable();
    this.pool = new Piscina({
      filename: new URL('./task.js', import.meta.url).href,
      minThreads: threads,
      maxThreads: threads,
      // A start leaves garbage only. With V8's default a worker would let it grow to tens of megabytes first.
      resourceLimits: { maxYoungGenerationSizeMb: 4 },
      idleTimeout: Number.POSITIVE_INFINITY,
    });
    // One task each: a fresh pool gives every thread one before it gives any a second.
    this.loaded = Promise.allSettled(Array.from({ length: threads }, () => this.pool.run({ task: 'load' })));
  }

  private async run<T>(request: TaskRequest): Promise<T> {
    const answer = await this.pool.run(request);
    if ('error' in answer) throw CaissonError.from(answer.error);
    return answer.value as T;
  }

  /** Runs a whole start; progress is told through shared memory. */
  async start(request: Omit<StartRequest, 'facts'>, facts: HostFacts): Promise<StartResult> {
    const result = await this.run<StartResult | undefined>({ task: 'start', ...request });
    // The first start in each thread brings the facts; cloning them for every one would cost each a tenth of a ms.
    return result ?? (await this.run<StartResult>({ task: 'start', ...request, facts }));
  }

  /** Begins to join a container; whether that comes to an exec is told by the child's memory and its gate. */
  async join(request: Omit<JoinRequest, 'facts'>, facts: HostFacts): Promise<ExecuteResult> {
    const result = await this.run<ExecuteResult | undefined>({ task: 'join', ...request });
    return result ?? (await this.run<ExecuteResult>({ task: 'join', ...request, facts }));
  }

  /** OOM kills counted by the first of `files` that exists. */
  oomKills(files: readonly string[]): Promise<number> {
    return this.run({ task: 'oom', files });
  }

  execute(request: ExecuteRequest): Promise<ExecuteResult> {
    return this.run({ task: 'execute', ...request });
  }

  facts(prefix: string): Promise<HostFacts> {
    return this.run({ task: 'facts', prefix });
  }

  stats(request: StatsRequest): Promise<StatsResult> {
    return this.run({ task: 'stats', ...request });
  }

  signal(request: SignalRequest): Promise<SignalChoice> {
    return this.run({ task: 'signal', ...request });
  }

  /** Waits for the tasks under way, then ends the threads. */
  async close(): Promise<void> {
    // A thread ended while it loads koffi takes the whole process with it: koffi cannot throw there, and aborts.
    await this.loaded;
    await this.pool.close();
  }
}
