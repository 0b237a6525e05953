import { type Client, reason, type Stop } from "../api/client";
import type { Frame } from "../api/messages";
import { LogBuffer, MOST_FRAMES } from "./log-buffer";
import { compiled, filterOf, type LogQuery } from "./log-query";

/** Frames that are looked for at once; who wants older ones narrows the time. */
export const LIMIT = MOST_FRAMES;

/** How far a search is. */
export interface Progress {
  opened: number;
  captures: number;
  done: boolean;
  more: boolean;
}

const BEGINNING: Progress = { opened: 0, captures: 0, done: false, more: false };

/**
 * A query being answered: what was logged until now, and what comes live.
 *
 * While it is paused, what comes is kept aside and counted. `changed` is called after each change.
 */
export class LogSearch {
  progress = BEGINNING;
  failure: string | null = null;
  private readonly buffer: LogBuffer;
  private aside: Frame[] = [];
  private expression: RegExp | null = null;
  private stops: Stop[] = [];
  private stillPaused = false;

  constructor(
    private readonly client: Client,
    private readonly changed: () => void,
    private readonly now: () => number = () => Date.now() / 1000,
    most = LIMIT,
  ) {
    this.buffer = new LogBuffer(most);
  }

  get frames(): readonly Frame[] {
    return this.buffer.all;
  }

  get paused(): boolean {
    return this.stillPaused;
  }

  /** How many frames came while it was paused. */
  get waiting(): number {
    return this.aside.length;
  }

  /** Answers another query from the beginning; what was found for the last one is gone. */
  start(query: LogQuery): void {
    this.stop();
    this.buffer.clear();
    this.aside = [];
    this.progress = BEGINNING;
    this.failure = null;
    try {
      this.expression = compiled(query);
    } catch (error) {
      this.fail(error);
      return;
    }
    const filter = filterOf(query, this.now());
    const failed = (error: unknown): void => {
      this.fail(error);
    };
    if (filter.until === undefined) {
      this.stops.push(
        this.client.live(
          filter,
          ({ frames }) => {
            this.cameLive(frames);
          },
          failed,
        ),
      );
    }
    this.stops.push(
      this.client.search(
        filter,
        LIMIT,
        ({ frames, ...progress }) => {
          this.buffer.add(this.wanted(frames));
          this.progress = progress;
          this.changed();
        },
        failed,
      ),
    );
    this.changed();
  }

  pause(): void {
    this.stillPaused = true;
    this.changed();
  }

  /** Shows what came meanwhile, and all that comes from now on. */
  resume(): void {
    this.stillPaused = false;
    this.buffer.add(this.aside);
    this.aside = [];
    this.changed();
  }

  stop(): void {
    for (const stop of this.stops) stop();
    this.stops = [];
  }

  private cameLive(frames: readonly Frame[]): void {
    const wanted = this.wanted(frames);
    if (wanted.length === 0) return;
    if (this.stillPaused) this.aside = this.aside.concat(wanted).slice(-LIMIT);
    else this.buffer.add(wanted);
    this.changed();
  }

  private wanted(frames: readonly Frame[]): readonly Frame[] {
    const { expression } = this;
    return expression ? frames.filter((frame) => expression.test(frame.message)) : frames;
  }

  private fail(error: unknown): void {
    this.failure = reason(error);
    this.progress = { ...this.progress, done: true };
    this.changed();
  }
}
