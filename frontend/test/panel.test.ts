import { expect, test } from "vitest";
import "../src/main";

test("the panel is an element", () => {
  expect(document.createElement("ulogger-panel").isConnected).toBe(false);
});
