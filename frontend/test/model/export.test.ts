import { expect, test } from "vitest";
import { exported } from "../../src/model/export";
import { frame } from "./frames";

const name = () => "Pump";
const FRAMES = [
  frame(2, { level: "error", module_name: "valve", message: 'said "no", twice' }),
  frame(1, { message: "=HYPERLINK(1)" }),
];

test("text is a line a frame, the oldest first", () => {
  expect(exported(FRAMES, "text", name)).toBe(
    "1970-01-01T00:16:41.000Z Pump INFO 3: =HYPERLINK(1)\n" +
      '1970-01-01T00:16:42.000Z Pump ERROR valve: said "no", twice\n',
  );
});

test("NDJSON is an object a line", () => {
  const lines = exported(FRAMES, "ndjson", name).trimEnd().split("\n");
  expect(lines.map((line) => (JSON.parse(line) as { message: string }).message)).toEqual([
    "=HYPERLINK(1)",
    'said "no", twice',
  ]);
});

test("CSV is quoted, and no device can put a formula into a spreadsheet", () => {
  const [head, first, second] = exported(FRAMES, "csv", name).split("\r\n");
  expect(head).toBe("time,uncertainty,device,level,module,message,firmware,capture");
  expect(first).toContain(",'=HYPERLINK(1),");
  expect(second).toContain(',"said ""no"", twice",');
});
