import type { Frame } from "../../src/api/messages";

/** Makes a frame for a test. */
export function frame(number: number, more: Partial<Frame> = {}): Frame {
  return {
    key: `a:1:${String(number)}`,
    account: "a",
    capture: 1,
    number,
    device: "d1",
    at: 1_000 + number,
    uncertainty: 0,
    level: "info",
    module: 3,
    module_name: null,
    message: `line ${String(number)}`,
    firmware: "1.0.0",
    ...more,
  };
}
