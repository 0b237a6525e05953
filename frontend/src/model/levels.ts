import type { LevelName } from "../api/messages";

/** The levels that a filter offers, the least severe first. */
export const SEVERITIES = ["debug", "info", "warning", "error", "critical"] as const;

/** What a filter can ask for: a lowest severity, or metrics alone. */
export const LEVELS = [...SEVERITIES, "metric"] as const;

/** How severe a level is; metrics and reserved levels are beside the scale. */
export function severity(level: LevelName): number {
  return SEVERITIES.indexOf(level as (typeof SEVERITIES)[number]);
}

/** Whether frames of a level pass a filter for the lowest severity. */
export function passes(level: LevelName, lowest: LevelName | undefined): boolean {
  if (lowest === undefined) return true;
  if (severity(lowest) < 0 || severity(level) < 0) return level === lowest;
  return severity(level) >= severity(lowest);
}

export function isLevel(text: string): text is (typeof LEVELS)[number] {
  return (LEVELS as readonly string[]).includes(text);
}
