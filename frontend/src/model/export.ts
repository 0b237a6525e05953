import type { Frame } from "../api/messages";

export type ExportFormat = "text" | "ndjson" | "csv";

const COLUMNS = [
  "time",
  "uncertainty",
  "device",
  "level",
  "module",
  "message",
  "firmware",
  "capture",
] as const;

/** Writes frames as a file's content, the oldest first; `name` tells a device's name. */
export function exported(
  frames: readonly Frame[],
  format: ExportFormat,
  name: (device: string) => string,
): string {
  const rows = [...frames].reverse().map((frame) => ({
    time: new Date(frame.at * 1000).toISOString(),
    uncertainty: frame.uncertainty,
    device: name(frame.device),
    level: frame.level,
    module: frame.module_name ?? String(frame.module),
    message: frame.message,
    firmware: frame.firmware,
    capture: frame.capture,
  }));
  if (format === "ndjson") return rows.map((row) => `${JSON.stringify(row)}\n`).join("");
  if (format === "csv") {
    const lines = rows.map((row) => COLUMNS.map((column) => cell(row[column])).join(","));
    return [COLUMNS.join(","), ...lines].map((line) => `${line}\r\n`).join("");
  }
  return rows
    .map(
      (row) =>
        `${row.time} ${row.device} ${row.level.toUpperCase()} ${row.module}: ${row.message}\n`,
    )
    .join("");
}

/** Quotes a cell (RFC 4180); a text that a spreadsheet would take for a formula is marked as text. */
function cell(value: string | number | null): string {
  if (value === null) return "";
  if (typeof value === "number") return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
