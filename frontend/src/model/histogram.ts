import type { Frame } from "../api/messages";
import { SEVERITIES, severity } from "./levels";

/** How many frames of each level there are over time: one array per severity, and the bins' starts. */
export interface Histogram {
  starts: number[];
  width: number;
  counts: number[][];
}

const STEPS = [
  1, 2, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 21_600, 43_200, 86_400, 604_800,
];

/** Counts frames in at most `bins` bins of a width that people use, over the frames' own range. */
export function histogram(frames: readonly Frame[], bins = 60): Histogram {
  const empty = { starts: [], width: 0, counts: SEVERITIES.map(() => []) };
  const counted = frames.filter((frame) => severity(frame.level) >= 0);
  if (counted.length === 0) return empty;
  let [first, last] = [Infinity, -Infinity];
  for (const { at } of counted) {
    first = Math.min(first, at);
    last = Math.max(last, at);
  }
  const least = (last - first) / bins;
  const width = STEPS.find((step) => step > least) ?? Math.ceil(least / 604_800) * 604_800;
  const start = Math.floor(first / width) * width;
  const length = Math.floor((last - start) / width) + 1;
  const counts = SEVERITIES.map(() => new Array<number>(length).fill(0));
  for (const frame of counted) {
    const row = counts[severity(frame.level)];
    const bin = Math.floor((frame.at - start) / width);
    if (row?.[bin] !== undefined) row[bin] += 1;
  }
  return { starts: Array.from({ length }, (_, bin) => start + bin * width), width, counts };
}
