import type { Hass } from "../hass";

/** Writes moments (Unix seconds) as a person reads them, in Home Assistant's time zone. */
export interface Times {
  /** Date and time to the second. */
  full(at: number): string;
  /** Time to the millisecond, with the date. */
  exact(at: number): string;
  /** Labels of an axis, as precise as it is short. */
  ticks(at: number[]): string[];
  /** How long ago, or until when. */
  relative(at: number, now?: number): string;
}

const UNITS: [Intl.RelativeTimeFormatUnit, number][] = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
  ["second", 1],
];

export function times(hass: Hass): Times {
  const language = hass.locale?.language ?? hass.language;
  const zone = { timeZone: hass.config.time_zone };
  const hourCycle = hass.locale?.time_format === "12" ? "h12" : "h23";
  const full = new Intl.DateTimeFormat(language, {
    ...zone,
    dateStyle: "short",
    timeStyle: "medium",
    hourCycle,
  });
  const exact = new Intl.DateTimeFormat(language, {
    ...zone,
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    fractionalSecondDigits: 3,
    hourCycle,
  });
  const tick = (options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat =>
    new Intl.DateTimeFormat(language, { ...zone, hourCycle, ...options });
  const minute = { hour: "2-digit", minute: "2-digit" } as const;
  const scales: [number, Intl.DateTimeFormat][] = [
    [172_800, tick({ month: "numeric", day: "numeric" })],
    [300, tick(minute)],
    [0, tick({ ...minute, second: "2-digit" })],
  ];
  const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto", style: "short" });
  return {
    full: (at) => full.format(at * 1000),
    exact: (at) => exact.format(at * 1000),
    ticks(at) {
      const span = (at.at(-1) ?? 0) - (at[0] ?? 0);
      const scale = scales.find(([least]) => span >= least)?.[1];
      return at.map((each) => scale?.format(each * 1000) ?? "");
    },
    relative(at, now = Date.now() / 1000) {
      const seconds = at - now;
      const [unit, length] = UNITS.find(([, each]) => Math.abs(seconds) >= each) ?? ["second", 1];
      return relative.format(Math.round(seconds / length), unit);
    },
  };
}

/** Writes an address the way a debugger does. */
export function hex(value: number, digits = 8): string {
  return `0x${value.toString(16).toUpperCase().padStart(digits, "0")}`;
}
