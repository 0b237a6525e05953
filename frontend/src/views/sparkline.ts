import type uPlot from "uplot";
import type { Chart } from "./chart";
import "./chart";

const PLAIN = {
  legend: { show: false },
  cursor: { show: false },
  padding: [2, 2, 2, 2] as uPlot.Padding,
  axes: [{ show: false }, { show: false }],
};

/** A line so small that it only shows how something goes. */
export function sparkline(values: readonly number[], at?: readonly number[]): Chart {
  return {
    height: 24,
    data: [at ? [...at] : values.map((_, index) => index), [...values]],
    options: (style) => ({
      ...PLAIN,
      scales: { x: { time: false } },
      series: [
        {},
        { stroke: style.getPropertyValue("--primary-color"), width: 1.5, points: { show: false } },
      ],
    }),
  };
}
