import type { Frame } from "../api/messages";

/** Frames that a tab holds at most; the oldest go first. */
export const MOST_FRAMES = 100_000;

const byTime = (a: Frame, b: Frame): number =>
  b.at - a.at || b.capture - a.capture || b.number - a.number;

/** The frames that were found so far, newest first, each once. */
export class LogBuffer {
  private frames: Frame[] = [];
  private readonly known = new Set<string>();

  constructor(private readonly most = MOST_FRAMES) {}

  get all(): readonly Frame[] {
    return this.frames;
  }

  /** Takes frames in and returns how many of them were new. */
  add(added: readonly Frame[]): number {
    const fresh = added.filter((frame) => !this.known.has(frame.key));
    for (const frame of fresh) this.known.add(frame.key);
    if (fresh.length === 0) return 0;
    this.frames = merged(this.frames, [...fresh].sort(byTime));
    for (const gone of this.frames.splice(this.most)) this.known.delete(gone.key);
    return fresh.length;
  }

  clear(): void {
    this.frames = [];
    this.known.clear();
  }
}

/** Joins two lists that are in order; the common case, one wholly after the other, is cheap. */
function merged(left: Frame[], right: Frame[]): Frame[] {
  const [lastLeft, firstRight] = [left.at(-1), right[0]];
  if (lastLeft === undefined) return right;
  if (firstRight === undefined || byTime(lastLeft, firstRight) <= 0) return left.concat(right);
  const [firstLeft, lastRight] = [left[0], right.at(-1)];
  if (firstLeft && lastRight && byTime(lastRight, firstLeft) <= 0) return right.concat(left);
  return left.concat(right).sort(byTime);
}
