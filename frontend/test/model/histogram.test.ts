import { expect, test } from "vitest";
import { histogram } from "../../src/model/histogram";
import { frame } from "./frames";

test("frames are counted by level and time", () => {
  const frames = [frame(0), frame(30), frame(61, { level: "error" }), frame(3000)];
  const { starts, width, counts } = histogram(frames);
  expect(width).toBe(60);
  expect(starts[0]).toBe(960);
  expect(counts[1]?.slice(0, 3)).toEqual([1, 1, 0]);
  expect(counts[3]?.slice(0, 3)).toEqual([0, 1, 0]);
  expect(counts.flat().reduce((sum, count) => sum + count)).toBe(4);
});

test("there are never more bins than asked for, but one for the border", () => {
  for (const span of [1, 59, 600, 86_400, 40_000_000]) {
    const { starts } = histogram([frame(0), frame(span)], 60);
    expect(starts.length).toBeLessThanOrEqual(61);
  }
});

test("metrics have no severity, and nothing gives nothing", () => {
  expect(histogram([frame(1, { level: "metric" })]).starts).toEqual([]);
  expect(histogram([]).starts).toEqual([]);
});
