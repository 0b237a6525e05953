import { expect, test } from "vitest";
import { LogBuffer } from "../../src/model/log-buffer";
import { frame } from "./frames";

const numbers = (buffer: LogBuffer) => buffer.all.map((each) => each.number);

test("frames are newest first, however they come", () => {
  const buffer = new LogBuffer();
  buffer.add([frame(5), frame(4)]);
  buffer.add([frame(2), frame(1)]);
  buffer.add([frame(9)]);
  buffer.add([frame(3), frame(6)]);
  expect(numbers(buffer)).toEqual([9, 6, 5, 4, 3, 2, 1]);
});

test("a frame that is found and comes live is there once", () => {
  const buffer = new LogBuffer();
  expect(buffer.add([frame(1), frame(2)])).toBe(2);
  expect(buffer.add([frame(2), frame(3)])).toBe(1);
  expect(numbers(buffer)).toEqual([3, 2, 1]);
});

test("of too many the oldest go, and may come back", () => {
  const buffer = new LogBuffer(2);
  buffer.add([frame(1), frame(2), frame(3)]);
  expect(numbers(buffer)).toEqual([3, 2]);
  buffer.clear();
  expect(buffer.add([frame(3)])).toBe(1);
});
