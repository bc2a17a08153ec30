/** What Prometheus is told. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { STATES } from '../machines/states.js';
import type { CaissonEvent } from '../supervisor/events.js';
import type { Supervisor } from '../supervisor/supervisor.js';

export class Metrics {
  private readonly registry = new Registry();
  readonly requests: Histogram<'route' | 'method' | 'status'>;
  readonly streams: Gauge;
  private readonly starts: Histogram;
  private readonly ends: Counter<'kind'>;
  private readonly begun = new Map<string, number>();
  private readonly unsubscribe: () => void;

  constructor(supervisor: Supervisor, version: string) {
    const registers = [this.registry];
    collectDefaultMetrics({ register: this.registry });
    new Gauge({ name: 'caisson_info', help: 'The version', labelNames: ['version'], registers }).set({ version }, 1);
    new Gauge({
      name: 'caisson_containers',
      help: 'Containers by state',
      labelNames: ['state'],
      registers,
      collect() {
        for (const state of STATES) this.set({ state }, 0);
        for (const { state } of supervisor.list()) this.inc({ state });
      },
    });
    new Gauge({
      name: 'caisson_container_restarts',
      help: 'How often a container has come back, by a reboot or by its restart policy',
      labelNames: ['container'],
      registers,
      collect() {
        this.reset();
        for (const { name, restartCount } of supervisor.list()) this.set({ container: name }, restartCount);
      },
    });
    new Gauge({
      name: 'caisson_events_seq',
      help: 'Sequence number of the newest event',
      registers,
      collect() {
        this.set(supervisor.seq);
      },
    });
    this.streams = new Gauge({ name: 'caisson_event_streams', help: 'Readers of the event stream', registers });
    this.starts = new Histogram({
      name: 'caisson_start_seconds',
      help: 'From the begin of a start to the exec of PID 1',
      buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5],
      registers,
    });
    this.ends = new Counter({
      name: 'caisson_ends_total',
      help: 'Ends of containers, by how PID 1 ended',
      labelNames: ['kind'],
      registers,
    });
    this.requests = new Histogram({
      name: 'caisson_http_request_seconds',
      help: 'Requests, without streams',
      labelNames: ['route', 'method', 'status'],
      buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60],
      registers,
    });
    this.unsubscribe = supervisor.on(event => this.count(event));
  }

  get type(): string {
    return this.registry.contentType;
  }

  text(): Promise<string> {
    return this.registry.metrics();
  }

  close(): void {
    this.unsubscribe();
  }

  private count(event: CaissonEvent): void {
    if (event.type !== 'state') return;
    const { container, to, exit } = event;
    if (to === 'creating') this.begun.set(container, event.time);
    const begun = this.begun.get(container);
    if (begun !== undefined && ['running', 'stopped', 'failed'].includes(to)) {
      this.begun.delete(container);
      if (to === 'running') this.starts.observe((event.time - begun) / 1000);
    }
    if (exit !== undefined) this.ends.inc({ kind: exit.kind });
  }
}
